//! Which server this is, and which of its starts: what tells transactions of the coordinator apart that have the same id.
//!
//! A start is known by a number that grows from start to start and with every promotion: the timeline, and where the log
//! was durable when this start wrote its first record behind recovery. Both are PostgreSQL's own, so nothing has to be
//! written for it: what is durable before a crash is replayed after it, and each start adds to the log.

#![allow(unexpected_cfgs)] // pg_shmem_init asks for versions that this crate has no feature for

use crate::pg::session::backend_state;
use pgrx::prelude::*;
use pgrx::{PgAtomic, pg_shmem_init};
use std::sync::atomic::{AtomicU64, Ordering};

// SAFETY: the names are unique to this use, and the memory is asked for in `install`, from `_PG_init`.
static LOG: PgAtomic<AtomicU64> = unsafe { PgAtomic::new(c"helios_start_log") };
// SAFETY: as above.
static NEXT_ID: PgAtomic<AtomicU64> = unsafe { PgAtomic::new(c"helios_start_next_id") };

/// Asks the postmaster for the memory, which is new with each start and each recovery from a crash.
pub fn install() {
    pg_shmem_init!(LOG = AtomicU64::new(0));
    pg_shmem_init!(NEXT_ID = AtomicU64::new(0));
}

/// Whether the server replays what another one writes, or what it wrote before a crash.
#[inline]
pub fn in_recovery() -> bool {
    backend_state::RecoveryInProgress()
}

/// Number of this start of the server; greater than that of any earlier start and of any server that this one was
/// promoted from. Only outside of recovery.
pub fn epoch() -> u128 {
    // SAFETY: reads shared state of the server, which is not in recovery.
    let (next, flushed, timeline) = unsafe {
        let mut timeline = 0;
        let flushed = pg_sys::GetFlushRecPtr(&mut timeline);
        (pg_sys::ReadNextFullTransactionId().value, flushed, timeline)
    };
    let first = |at: &AtomicU64, value| match at.compare_exchange(
        0,
        value,
        Ordering::AcqRel,
        Ordering::Acquire,
    ) {
        Ok(_) => value,
        Err(earlier) => earlier,
    };
    first(NEXT_ID.get(), next);
    (u128::from(timeline) << 64) | u128::from(first(LOG.get(), flushed))
}

/// The first transaction id that an earlier start of the server cannot have made durable; only after [`epoch`].
pub fn first_id() -> u64 {
    NEXT_ID.get().load(Ordering::Acquire)
}

/// The timeline of the log that this server writes. Only outside of recovery.
pub fn timeline() -> u32 {
    // SAFETY: as above.
    unsafe { pg_sys::GetWALInsertionTimeLine() }
}

/// The number that this server shares with its standbys and nobody else.
pub fn system_identifier() -> u64 {
    // SAFETY: reads the control file's copy in memory.
    unsafe { pg_sys::GetSystemIdentifier() }
}

/// The connection string with which a standby follows its primary; it may hold a password.
pub fn primary_conninfo() -> String {
    // SAFETY: the server's own setting, a C string or NULL.
    unsafe {
        let text = pg_sys::PrimaryConnInfo;
        if text.is_null() {
            return String::new();
        }
        std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}
