//! Shared memory, locks, waits, processes and background workers.
//!
//! Invariant: all waits are interruptible, unless documented as short. Begin with [`wait`], which every statement on a
//! node uses.

pub mod lock;
pub mod process;
pub mod shared_memory;
pub mod wait;
pub mod worker;
