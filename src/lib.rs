//! Helios shards plain PostgreSQL by schema: installs settings, hooks and workers; nothing else.

mod api;
mod background;
mod ddl;
mod directory;
mod error;
mod executor;
mod failpoint;
mod migration;
mod pg;
mod planner;
mod rebalance;
mod remote;
mod settings;
mod stats;
mod transaction;

use pgrx::prelude::*;

pgrx::pg_module_magic!();

/// Runs once, in the postmaster.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    pg::preload::require();
    settings::register();
    pg::shared_memory::install();
    pg::server_start::install();
    pg::backends::install();
    pg::node_health::install();
    pg::replica_states::install();
    pg::schema_counters::install();
    #[cfg(feature = "failpoints")]
    pg::failpoints::install();
    pg::invalidation::install();
    pg::acting::install();
    ddl::install();
    settings::install_grammar();
    transaction::install();
    executor::install();
    background::install();
    pg::hooks::install(planner::callbacks());
}
