//! Rows of `helios.transaction`, written straight into the heap: at pre-commit a statement through the
//! planner would cost more than the prepared transactions themselves.

use crate::pg::catalog;
use pgrx::{IntoDatum, pg_sys};

/// Committed records for a node, whatever this transaction's snapshot shows: the name, and when it was written
/// (seconds since 1970).
pub fn all(table: pg_sys::Oid, node: i32) -> Vec<(String, f64)> {
    /// From 1970 to 2000, where PostgreSQL's own clock begins.
    const EPOCH: f64 = 946_684_800.0;
    let rows = catalog::scan(table, pg_sys::InvalidOid, &[], |row| {
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

/// Whether the server has given this full id to a transaction.
pub fn is_past(id: u64) -> bool {
    // SAFETY: reads shared state of the server.
    id < unsafe { pg_sys::ReadNextFullTransactionId() }.value
}

/// Whether a local transaction is still running (or prepared here).
pub fn is_running(epoch: u32, xid: u32) -> bool {
    // SAFETY: reads shared state of the server.
    unsafe {
        let next = pg_sys::ReadNextFullTransactionId().value;
        let full = (u64::from(epoch) << 32) | u64::from(xid);
        // An id of an epoch that has passed would be mistaken for a new one; one of the future is not ours.
        if full >= next || next - full > u64::from(u32::MAX / 2) {
            return false;
        }
        pg_sys::TransactionIdIsInProgress(xid.into())
    }
}
