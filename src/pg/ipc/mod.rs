//! Shared memory, locks, waits, processes and background workers.
//!
//! Invariant: whatever waits here can be interrupted, or is said to be short. Begin with [`wait`], which every statement on a
//! node goes through.

pub mod lock;
pub mod process;
pub mod shared_memory;
pub mod wait;
pub mod worker;
