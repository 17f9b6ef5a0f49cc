//! Which of its starts a server is in: what tells transactions of the coordinator apart that have the same id.
//!
//! A start is known by a number that grows from start to start and with every promotion: the timeline, and where the log
//! was durable when this start wrote its first record behind recovery. Both are PostgreSQL's own, so nothing has to be
//! written for it: what is durable before a crash is replayed after it, and each start adds to the log.

use crate::pg::ipc::shared_memory::{Unlocked, plain_struct};
use crate::pg::session::server_state;
use std::sync::atomic::{AtomicU64, Ordering};

plain_struct! {
    /// What the first process that asked has found; 0: nobody has asked.
    pub(super) struct Start {
        log: AtomicU64,
        next_id: AtomicU64,
    }
}

/// New with each start of the server and each recovery from a crash.
pub(super) static START: Unlocked<Start> = Unlocked::new(c"helios_start");

/// Number of this start of the server; greater than that of any earlier start and of any server that this one was
/// promoted from. Only outside of recovery.
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

/// The first transaction id that an earlier start of the server cannot have made durable; only after [`epoch`].
pub fn first_id() -> u64 {
    START.get().next_id.load(Ordering::Acquire)
}
