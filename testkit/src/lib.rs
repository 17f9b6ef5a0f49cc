//! Real PostgreSQL servers and clusters: what the project's commands (`xtask`) and the tests on clusters share.
//!
//! For tests, a [`Cluster`] is a coordinator and nodes on ports of their own, gone when it is dropped, however the test
//! ends. Tests that only read and write schemas of their own share one ([`Cluster::shared`]); tests that break things
//! start their own ([`Cluster::start`]).
//!
//! The extension must be installed: `cargo xtask test` does that before it runs the tests, `cargo xtask install` does it
//! alone. `HELIOS_PG` chooses the PostgreSQL version.

pub mod clients;
pub mod cluster;
pub mod command;
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails by panicking"
)]
mod fixtures;
pub mod ledger;
pub mod library;
pub mod migrations;
pub mod obtain;
pub mod paths;
pub mod ports;
pub mod postgres;
pub mod processes;
pub mod progress;
pub mod released;
pub mod scratch;
pub mod server;

pub use fixtures::*;
