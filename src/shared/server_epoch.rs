//! Identifies the server's start, to distinguish transactions of the coordinator with the same ID.
//!
//! A start is identified by a number that increases with each start and promotion: the timeline, and the flush position
//! of the WAL when this start wrote its first record after recovery. Both are maintained by PostgreSQL, so nothing
//! needs to be stored: what is flushed before a crash is replayed afterwards, and each start adds to the WAL.

use crate::pg::ipc::shared_memory::{Unlocked, plain_struct};
use crate::pg::session::server_state;
use std::sync::atomic::{AtomicU64, Ordering};

plain_struct! {
    /// The result for the first process that asked; 0 if none has.
    pub(super) struct Start {
        log: AtomicU64,
        next_id: AtomicU64,
    }
}

/// Different for each start of the server and each crash recovery.
pub(super) static START: Unlocked<Start> = Unlocked::new(c"helios_start");

/// Number of this start of the server; greater than that of any earlier start and of any server from which this one was
/// promoted. Only valid outside of recovery.
pub fn epoch() -> u128 {
    let next = server_state::next_transaction_id();
    let (flushed, timeline) = server_state::flushed_log();
    let first = |at: &AtomicU64, value| match at.compare_exchange(
        0,
        value,
        Ordering::AcqRel,
        Ordering::Acquire,
    ) {
        Ok(_) => value,
        Err(earlier) => earlier,
    };
    first(&START.get().next_id, next);
    (u128::from(timeline) << 64) | u128::from(first(&START.get().log, flushed))
}

/// The first transaction ID that cannot be from an earlier start of the server; only valid after [`epoch`].
pub fn first_id() -> u64 {
    START.get().next_id.load(Ordering::Acquire)
}
