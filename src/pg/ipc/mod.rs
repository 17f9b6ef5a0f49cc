//! Shared memory, locks, waits and background workers.

pub mod backends;
#[cfg(feature = "failpoints")]
pub mod failpoints;
pub mod lock;
pub mod node_health;
pub mod replica_states;
pub mod schema_counters;
pub mod shared_memory;
pub mod wait;
pub mod worker;
pub mod worker_slots;
