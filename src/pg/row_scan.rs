//! Reads all rows of a table without a plan.
//!
//! To plan a query is to run code of the table's owner: the planner computes what is constant in the expressions and
//! predicates of indexes and extended statistics. A scan runs nothing but the output functions of types, which are
//! superusers' (a base type can be made by nobody else).

use super::own_settings::OwnSettings;
use super::row_trigger::{Values, values};
use super::wait::check_for_interrupts;
use crate::error::Result;
use pgrx::pg_sys::{self, Oid};
use std::ffi::c_int;
use std::ptr;

unsafe extern "C-unwind" {
    fn hash_bytes_extended(bytes: *const u8, length: c_int, seed: u64) -> u64;
}

/// Calls `take` with each row that is committed now, or this transaction's own: columns as text, by number less one,
/// written so that every server reads them as the same values. The caller has checked that the relation is a table, and
/// who may read it.
pub fn each(relation: Oid, mut take: impl FnMut(&Values) -> Result<()>) -> Result<()> {
    let _modes = OwnSettings::begin(&super::copy_from::PINNED[1..]); // no text leaves the server here
    let lock = pg_sys::AccessShareLock as c_int;
    let mut memory = pgrx::memcxt::PgMemoryContexts::new("rows of a table");
    // SAFETY: relation, snapshot and scan are open until the end of the block, and an error of the server's releases them
    // with its transaction. What a row allocates is copied out of the memory that is emptied behind it.
    unsafe {
        pg_sys::CommandCounterIncrement();
        let table = pg_sys::table_open(relation, lock);
        let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetTransactionSnapshot());
        let none = pg_sys::InvalidOid;
        let scan = pg_sys::systable_beginscan(table, none, false, snapshot, 0, ptr::null_mut());
        let mut result = Ok(());
        while result.is_ok() {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let row = memory.switch_to(|_| values((*table).rd_att, tuple));
            memory.reset();
            result = take(&row);
            check_for_interrupts();
        }
        pg_sys::systable_endscan(scan);
        pg_sys::UnregisterSnapshot(snapshot);
        pg_sys::table_close(table, pg_sys::NoLock as c_int);
        result
    }
}

/// A hash of a row that tells apart all values that are written differently.
pub fn hash(row: &Values) -> i64 {
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
    // SAFETY: reads so many bytes.
    unsafe { hash_bytes_extended(bytes.as_ptr(), bytes.len() as c_int, 0) as i64 }
}
