//! What all backends of the server share: the generation number of the directory.

#![allow(unexpected_cfgs)] // pg_shmem_init asks for versions that this crate has no feature for

use pgrx::prelude::*;
use pgrx::{PgAtomic, pg_shmem_init};
use std::sync::atomic::{AtomicU64, Ordering};

// SAFETY: the name is unique to this use, and the memory is asked for in `install`, from `_PG_init`.
static GENERATION: PgAtomic<AtomicU64> = unsafe { PgAtomic::new(c"helios_generation") };

/// Asks the postmaster for the memory.
pub fn install() {
    pg_shmem_init!(GENERATION = AtomicU64::new(1));
}

/// Number of committed changes to any database's directory since the server started.
#[inline]
pub fn generation() -> u64 {
    GENERATION.get().load(Ordering::Acquire)
}

/// Tells every backend that the directory has changed.
pub fn next_generation() {
    GENERATION.get().fetch_add(1, Ordering::AcqRel);
}
