//! Reads all rows of a table without planning a query.
//!
//! Planning a query runs code of the table's owner: the planner evaluates constant expressions in indexes, index
//! predicates and extended statistics. A scan only runs the output functions of types, which belong to superusers
//! (nobody else can create a base type).

use crate::error::{Error, Result};
use crate::pg::error::raise_from_guarded;
use crate::pg::exec::row_trigger::{Values, values};
use crate::pg::ipc::wait::check_for_interrupts;
use crate::pg::session::own_settings::OwnSettings;
use pgrx::pg_sys::{self, Oid, errcodes::PgSqlErrorCode as Code};
use std::ffi::c_int;
use std::ptr;

unsafe extern "C-unwind" {
    fn hash_bytes_extended(bytes: *const u8, length: c_int, seed: u64) -> u64;
}

/// Locks a relation for reading until the transaction ends; false if it does not exist (anymore).
pub fn lock(relation: Oid) -> bool {
    // SAFETY: takes a lock, and does a syscache lookup.
    unsafe {
        pg_sys::LockRelationOid(relation, pg_sys::AccessShareLock as c_int);
        pg_sys::get_rel_relkind(relation) != 0
    }
}

/// Like [`each`], for the single row of a sequence: last_value, log_cnt, is_called.
///
/// 42809 if the relation is not a sequence (anymore).
pub fn each_of_sequence(relation: Oid, take: impl FnMut(&Values) -> Result<()>) -> Result<()> {
    // SAFETY: locks for the rest of the transaction, so that it stays what it is; does a syscache lookup.
    let kind = unsafe {
        pg_sys::LockRelationOid(relation, pg_sys::AccessShareLock as c_int);
        pg_sys::get_rel_relkind(relation)
    };
    if kind != b'S' as std::ffi::c_char {
        return Err(Error::new(Code::ERRCODE_WRONG_OBJECT_TYPE, "relation is not a sequence"));
    }
    each(relation, take)
}

/// Deletes all rows of a table that are committed now, or are this transaction's own. Rules, policies, triggers and
/// foreign keys are ignored. Returns the number of rows.
pub fn delete_all(relation: Oid) -> u64 {
    let mut rows = 0;
    // SAFETY: the tuple is the scan's, of this relation and this snapshot.
    with_tuples(relation, pg_sys::RowExclusiveLock, |table, snapshot, tuple| unsafe {
        pg_sys::simple_table_tuple_delete(table, &mut (*tuple).t_self, snapshot);
        rows += 1;
        true
    });
    rows
}

/// Whether a table has rows.
pub fn has_rows(relation: Oid) -> bool {
    let mut found = false;
    with_tuples(relation, pg_sys::AccessShareLock, |_, _, _| {
        found = true;
        false
    });
    found
}

/// Calls `take` with each tuple until it returns false.
fn with_tuples(
    relation: Oid,
    lock: u32,
    mut take: impl FnMut(pg_sys::Relation, pg_sys::Snapshot, pg_sys::HeapTuple) -> bool,
) {
    // SAFETY: relation, snapshot and scan are open until the end of the block, and an error of the server's releases them
    // with its transaction.
    unsafe {
        let table = pg_sys::table_open(relation, lock as c_int);
        require_storage(table);
        let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetTransactionSnapshot());
        let none = pg_sys::InvalidOid;
        let scan = pg_sys::systable_beginscan(table, none, false, snapshot, 0, ptr::null_mut());
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() || !take(table, snapshot, tuple) {
                break;
            }
            check_for_interrupts();
        }
        pg_sys::systable_endscan(scan);
        pg_sys::UnregisterSnapshot(snapshot);
        pg_sys::table_close(table, pg_sys::NoLock as c_int);
    }
}

/// Calls `take` with each row that is committed now, or is this transaction's own: columns as text, by number less one,
/// formatted so that every server reads them as the same values. The caller has checked that the relation is a table,
/// and the permission to read it.
pub fn each(relation: Oid, mut take: impl FnMut(&Values) -> Result<()>) -> Result<()> {
    let _modes = OwnSettings::begin(&crate::pg::exec::copy_from::PINNED[1..]); // no text leaves the server here
    let mut memory = pgrx::memcxt::PgMemoryContexts::new("rows of a table");
    // SAFETY: changes a variable of this backend.
    unsafe { pg_sys::CommandCounterIncrement() };
    let mut result = Ok(());
    with_tuples(relation, pg_sys::AccessShareLock, |table, _, tuple| {
        // SAFETY: the tuple is of this relation. Results are copied out of the memory context before it is reset.
        let row = unsafe { memory.switch_to(|_| values((*table).rd_att, tuple)) };
        // SAFETY: its contents are no longer used.
        unsafe { memory.reset() };
        result = take(&row);
        result.is_ok()
    });
    result
}

/// A hash of the columns of a row that distinguishes all values with different text.
pub fn hash<'a>(row: impl Iterator<Item = Option<&'a [u8]>>) -> i64 {
    let mut bytes = Vec::new();
    for value in row {
        match value {
            Some(value) => {
                bytes.extend((value.len() as u64).to_be_bytes());
                bytes.extend(value);
            }
            None => bytes.extend(u64::MAX.to_be_bytes()),
        }
    }
    // SAFETY: reads exactly this many bytes.
    unsafe { hash_bytes_extended(bytes.as_ptr(), bytes.len() as c_int, 0) as i64 }
}

/// Raises 42809 for a relation without storage, such as a view, which cannot be scanned.
///
/// # Safety
/// The relation is open.
pub(in crate::pg) unsafe fn require_storage(relation: pg_sys::Relation) {
    // SAFETY: by the caller's promise.
    let is_stored = unsafe { !(*relation).rd_tableam.is_null() };
    if !is_stored {
        let message = "relation does not have storage";
        raise_from_guarded(Error::new(Code::ERRCODE_WRONG_OBJECT_TYPE, message));
    }
}
