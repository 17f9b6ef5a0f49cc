//! Statements over several places give what they give on one plain server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails by panicking"
)]

mod generator;
mod pushed_down;
mod random;
mod start_time;
mod statements;
