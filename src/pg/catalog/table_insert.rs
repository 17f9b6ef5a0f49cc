//! Inserts rows without SQL.

use crate::error::Result;
use crate::pg::catalog::table::{Assignment, Table, TableRow, mismatch, numbers};
use crate::pg::catalog::types::tuple_attribute;
use pgrx::pg_sys;
use std::ffi::CStr;

impl<R: TableRow> Table<R> {
    /// Inserts a row directly into the table and its indexes, bypassing the planner, triggers and constraints, like
    /// PostgreSQL does for its catalogs. Columns without a value are null; 55000 if one of them is generated or NOT
    /// NULL.
    pub fn insert(self, row: &[Assignment<R>]) -> Result<()> {
        let lock = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
        // SAFETY: the relation is open until the end; the arrays are as long as its descriptor, in which each value's
        // column was found with the value's type; errors that are raised release it through the resource owner.
        unsafe {
            let relation = pg_sys::table_open(self.relation, lock);
            let formed = form::<R>(relation, row);
            if let Ok(tuple) = formed {
                pg_sys::CatalogTupleInsert(relation, tuple);
            }
            pg_sys::table_close(relation, pg_sys::NoLock as pg_sys::LOCKMODE);
            formed.map(drop)
        }
    }
}

/// # Safety
/// `relation` is open.
unsafe fn form<R: TableRow>(
    relation: pg_sys::Relation,
    row: &[Assignment<R>],
) -> Result<pg_sys::HeapTuple> {
    // SAFETY: by the caller's promise; both arrays have an entry for each column of the descriptor.
    unsafe {
        let numbers = numbers::<R>(relation)?;
        let descriptor = (*relation).rd_att;
        let attributes = (*descriptor).natts as usize;
        let (mut values, mut nulls) =
            (vec![pg_sys::Datum::null(); attributes], vec![true; attributes]);
        for Assignment { at, value, .. } in row {
            values[numbers[*at]] = *value;
            nulls[numbers[*at]] = false;
        }
        for number in (0..attributes).filter(|number| nulls[*number]) {
            let attribute = &*tuple_attribute(descriptor, number);
            if !attribute.attisdropped && (attribute.attnotnull || attribute.atthasdef) {
                return Err(mismatch::<R>(format!(
                    "The table has a column \"{}\" that is unknown to this version of Helios.",
                    CStr::from_ptr(attribute.attname.data.as_ptr()).to_string_lossy()
                )));
            }
        }
        Ok(pg_sys::heap_form_tuple(descriptor, values.as_mut_ptr(), nulls.as_mut_ptr()))
    }
}
