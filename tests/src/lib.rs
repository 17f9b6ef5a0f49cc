//! Real PostgreSQL clusters for tests.
//!
//! A [`Cluster`] is a coordinator and nodes on ports of their own, gone when it is dropped, however
//! the test ends. Tests that only read and write schemas of their own share one
//! ([`Cluster::shared`]); tests that break things start their own ([`Cluster::start`]).
//!
//! The extension must be installed: `cargo xtask test` does that before it runs the tests,
//! `cargo xtask install` does it alone. `HELIOS_PG` chooses the PostgreSQL version.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails by panicking"
)]

mod cluster;
mod failpoints;
mod programs;
mod proxy;
mod query;
mod traces;
mod wait;
mod wire;

pub use cluster::{Cluster, PlainServer, backend, descriptors, kill};
pub use programs::{Bench, Output, pgbench, psql};
pub use proxy::Proxy;
pub use query::{define_on_node, refused, text};
pub use traces::{assert_clean, assert_clean_on, node_of};
pub use wait::{BOUND, Stop, wait_until};
pub use wire::{Bound, Column, Event, Wire, cancel};

use std::io::Write;
use std::path::PathBuf;

use xtask::clients;
use xtask::postgres::{DEFAULT_MAJOR, Postgres};
use xtask::setup::Obtained;

/// The PostgreSQL version under test.
pub fn pg() -> Postgres {
    let major = std::env::var("HELIOS_PG")
        .map_or(DEFAULT_MAJOR, |major| major.parse().expect("HELIOS_PG is a number"));
    Postgres::require(major).unwrap()
}

/// A Python interpreter with the client libraries of `tests/clients/requirements.txt`; a skip is
/// noted when it cannot be had.
pub fn python() -> Option<PathBuf> {
    or_skip(clients::python().unwrap())
}

/// A `node_modules` directory with the packages of `tests/clients/package.json`; a skip is noted
/// when it cannot be had.
pub fn node_modules() -> Option<PathBuf> {
    or_skip(clients::node_modules().unwrap())
}

fn or_skip(obtained: Obtained<PathBuf>) -> Option<PathBuf> {
    match obtained {
        Obtained::Yes(path) => Some(path),
        Obtained::No(reason) => {
            skip(&reason);
            None
        }
    }
}

/// Says that the test running cannot be done here, and why; the caller then returns. It is shown
/// even though the test counts as passed for Rust's test runner, and `cargo xtask test` counts it
/// as skipped.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let reason = reason.trim().replace('\n', " | ");
    let line = format!("{}: {reason}", thread.name().unwrap_or("a test"));
    // Not eprintln: the output of passing tests is hidden.
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "SKIPPED {line}").unwrap();
    if let Some(file) = std::env::var_os("HELIOS_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}
