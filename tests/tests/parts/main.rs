//! Statements over several places give what they give on one plain server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails by panicking"
)]

mod catalogs;
mod clone_schema;
mod exact_values;
mod generator;
mod grants;
mod inheritance;
mod like;
mod made_from_queries;
mod memory;
mod policies;
mod pushed_down;
mod random;
mod sequences;
mod set_schema;
mod start_time;
mod statements;
mod user_types;
