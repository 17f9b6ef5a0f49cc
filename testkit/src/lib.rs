//! Real PostgreSQL servers and clusters, shared by the project's commands (`xtask`) and the tests on clusters.
//!
//! In tests, a [`Cluster`] is a coordinator and nodes on private ports, removed when it is dropped, however the test
//! ends. Tests that only use schemas of their own share a cluster ([`Cluster::shared`]); tests that break things
//! start a private one ([`Cluster::start`]).
//!
//! The extension must be installed: `cargo xtask test` does so before it runs the tests, or use `cargo xtask install`
//! separately. `HELIOS_PG` selects the PostgreSQL version.

pub mod clients;
pub mod cluster;
pub mod command;
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
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
