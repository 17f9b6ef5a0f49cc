//! Transaction IDs of this server.

use pgrx::pg_sys;

/// The last transaction with this ID, as a full transaction ID; None if there was none yet.
pub fn full_id(xid: u32) -> Option<u64> {
    // SAFETY: reads shared state of the server.
    let next = unsafe { pg_sys::ReadNextFullTransactionId() }.value;
    let full = (next >> 32 << 32) | u64::from(xid);
    if full < next { Some(full) } else { full.checked_sub(1 << 32) }
}

/// Whether a local transaction is in progress (or prepared).
pub fn is_running(xid: u32) -> bool {
    // SAFETY: reads shared state of the server.
    let next = unsafe { pg_sys::ReadNextFullTransactionId() }.value;
    // An ID that has not been assigned yet, or so long ago that it would be mistaken for a new one, is invalid.
    let known = full_id(xid).is_some_and(|full| next - full <= u64::from(u32::MAX / 2));
    // SAFETY: as above.
    known && unsafe { pg_sys::TransactionIdIsInProgress(xid.into()) }
}
