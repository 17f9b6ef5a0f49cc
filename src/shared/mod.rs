//! What all processes of the server know in common: Helios' own structures in shared memory, in safe Rust.
//!
//! `pg/ipc/shared_memory.rs` has the memory; here is what lies in it. Nothing of it survives a restart or a crash of the
//! server: whatever reads it must do with "nothing is known".
//!
//! Invariant: nothing is waited for while a structure's lock is held, and no two of these locks are held at a time.
//! Begin with [`directory_version`], which every statement reads.

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

/// Everything that the postmaster is asked for.
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

/// Asks the postmaster for the memory; once, from `_PG_init`, when settings are known.
pub fn install() {
    shared_memory::install(STRUCTURES);
}
