//! Helios shards plain PostgreSQL by schema: installs settings, hooks and workers; nothing else.

mod api;
mod catalog;
mod cluster;
mod ddl;
mod error;
mod executor;
mod failpoint;
mod hooks;
mod migration;
mod pg;
mod planner;
mod rebalance;
mod remote;
mod replica;
mod replication;
mod settings;
mod shared;
mod stats;
mod transaction;
mod workers;

/// What must not compile; see xtask/src/testing/misuse.rs.
#[cfg(feature = "misuse")]
#[allow(dead_code)]
mod misuse {
    include!(env!("HELIOS_MISUSE"));
}

use pgrx::prelude::*;

pgrx::pg_module_magic!();

/// Called once, in the postmaster.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    pg::session::preload::require();
    settings::register();
    transaction::start_time::register();
    shared::install();
    pg::ipc::worker::install(&workers::LAUNCHER);
    settings::install_grammar();
    pg::hooks::install::<hooks::Helios>();
}
