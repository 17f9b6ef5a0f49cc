//! Rows of `helios.transaction`, written straight into the heap: at pre-commit a statement through the
//! planner would cost more than the prepared transactions themselves.

use crate::pg::catalog::index_scan;
use pgrx::{IntoDatum, pg_sys};

/// Committed records for a node, whatever this transaction's snapshot shows: the name, and when it was written
/// (seconds since 1970).
pub fn all(table: pg_sys::Oid, node: i32) -> Vec<(String, f64)> {
    /// From 1970 to 2000, where PostgreSQL's own clock begins.
    const EPOCH: f64 = 946_684_800.0;
    let rows = index_scan::scan(table, pg_sys::InvalidOid, &[], |row| {
        if row.get::<i32>(2) != Some(node) {
            return None;
        }
        let since = row.get::<i64>(3).unwrap_or(0) as f64 / 1e6 + EPOCH;
        Some((row.get::<String>(1)?, since))
    });
    rows.into_iter().flatten().collect()
}

/// Adds a commit record for each (gid, node) to the current transaction.
pub fn insert(table: pg_sys::Oid, records: &[(String, i32)]) {
    for (gid, node) in records {
        // SAFETY: the table has the columns (gid text, node integer, created timestamptz), as the extension's
        // script made it; the relation is closed again, or by the resource owner after an error.
        unsafe {
            let lock = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
            let relation = pg_sys::table_open(table, lock);
            let mut values = [
                gid.as_str().into_datum().unwrap_or(pg_sys::Datum::null()),
                pg_sys::Datum::from(*node),
                pg_sys::Datum::from(pg_sys::GetCurrentTimestamp()),
            ];
            let mut nulls = [false; 3];
            let tuple = pg_sys::heap_form_tuple(
                (*relation).rd_att,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
            pg_sys::CatalogTupleInsert(relation, tuple);
            pg_sys::table_close(relation, pg_sys::NoLock as pg_sys::LOCKMODE);
        }
    }
}

/// The last transaction with this id that the server knows, as a full id; None if there was none yet.
pub fn full_id(xid: u32) -> Option<u64> {
    // SAFETY: reads shared state of the server.
    let next = unsafe { pg_sys::ReadNextFullTransactionId() }.value;
    let full = (next >> 32 << 32) | u64::from(xid);
    if full < next { Some(full) } else { full.checked_sub(1 << 32) }
}

/// Whether a local transaction is still running (or prepared here).
pub fn is_running(xid: u32) -> bool {
    // SAFETY: reads shared state of the server.
    let next = unsafe { pg_sys::ReadNextFullTransactionId() }.value;
    // An id that has not been given yet, or so long ago that it would be mistaken for a new one, is nobody's.
    let known = full_id(xid).is_some_and(|full| next - full <= u64::from(u32::MAX / 2));
    // SAFETY: as above.
    known && unsafe { pg_sys::TransactionIdIsInProgress(xid.into()) }
}
