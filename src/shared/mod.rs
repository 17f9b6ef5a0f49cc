//! State shared by all processes of the server: Helios' own structures in shared memory, in safe Rust.
//!
//! `pg/ipc/shared_memory.rs` manages the memory; this module defines its contents. Nothing in it survives a restart or
//! crash of the server, so all readers must cope with missing data.
//!
//! Invariant: no waits while a structure's lock is held, and no two of these locks are held at a time. Begin with
//! [`directory_version`], which every statement reads.

pub mod backends;
pub mod directory_version;
#[cfg(feature = "failpoints")]
pub mod failpoints;
pub mod node_health;
pub mod replica_states;
pub mod schema_counters;
pub mod server_epoch;
pub mod worker_slots;

use crate::pg::ipc::shared_memory::{self, Structure};

/// All structures for which memory is requested.
static STRUCTURES: &[&dyn Structure] = &[
    &directory_version::GENERATION,
    &server_epoch::START,
    &backends::SLOTS,
    &node_health::NODES_SEEN,
    &replica_states::STATES,
    &schema_counters::SINCE,
    &schema_counters::ENTRIES,
    &worker_slots::WORK,
    #[cfg(feature = "failpoints")]
    &failpoints::ENTRIES,
];

/// Requests the shared memory; called once, from `_PG_init`, after settings have been defined.
pub fn install() {
    shared_memory::install(STRUCTURES);
}
