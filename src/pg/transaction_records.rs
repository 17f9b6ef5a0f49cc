//! Rows of `helios.transaction`, written straight into the heap: at pre-commit a statement through the
//! planner would cost more than the prepared transactions themselves.

use pgrx::{IntoDatum, pg_sys};

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
