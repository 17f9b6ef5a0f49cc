//! All rows of a table as values of its row type, for queries that read them without naming the table.
//!
//! Planning a query that names a table runs what its owner has written into indexes and statistics, and it would have
//! to run with the owner's privileges, which he may not have. A query on this function plans nothing of the table, and
//! only runs output functions and the functions that it calls itself.

use crate::pg::exec::row_scan::require_storage;
use crate::pg::ipc::wait::check_for_interrupts;
use pgrx::pg_sys::{self, Oid};
use pgrx::{AnyElement, FromDatum};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::rc::Rc;

/// A scan in progress. It ends with the last row; if it is abandoned before, its query has failed, whose end releases
/// its resources. After the end of its query it returns no more rows.
pub struct TableRows {
    /// The scan's memory context has not been freed.
    lives: Rc<Cell<bool>>,
    table: pg_sys::Relation,
    scan: pg_sys::SysScanDesc,
    snapshot: pg_sys::Snapshot,
}

impl TableRows {
    /// Starts a scan with the snapshot of the current query. The caller has checked permissions.
    pub fn of(table: Oid) -> Self {
        // SAFETY: relation, snapshot and scan belong to the resource owner of the query, as those of its own scans do.
        unsafe {
            let table = pg_sys::table_open(table, pg_sys::AccessShareLock as c_int);
            require_storage(table);
            let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetActiveSnapshot());
            let none = pg_sys::InvalidOid;
            let scan = pg_sys::systable_beginscan(table, none, false, snapshot, 0, ptr::null_mut());
            Self { lives: watch_memory(), table, scan, snapshot }
        }
    }
}

impl Iterator for TableRows {
    type Item = AnyElement;

    fn next(&mut self) -> Option<AnyElement> {
        if self.scan.is_null() || !self.lives.get() {
            return None;
        }
        check_for_interrupts();
        // SAFETY: the scan is open; a row is copied before the scan continues, into the memory context of the call,
        // which the server resets before it requests the next row.
        unsafe {
            let tuple = pg_sys::systable_getnext(self.scan);
            if tuple.is_null() {
                pg_sys::systable_endscan(self.scan);
                pg_sys::UnregisterSnapshot(self.snapshot);
                pg_sys::table_close(self.table, pg_sys::NoLock as c_int);
                self.scan = ptr::null_mut();
                return None;
            }
            let descriptor = (*self.table).rd_att;
            let row = pg_sys::heap_copy_tuple_as_datum(tuple, descriptor);
            AnyElement::from_polymorphic_datum(row, false, (*descriptor).tdtypeid)
        }
    }
}

/// True until the current memory context is reset.
///
/// # Safety
/// There is a current memory context.
unsafe fn watch_memory() -> Rc<Cell<bool>> {
    let lives = Rc::new(Cell::new(true));
    // SAFETY: the callback is allocated in the memory context whose reset calls it, once.
    unsafe {
        let callback = pg_sys::palloc0(size_of::<pg_sys::MemoryContextCallback>())
            .cast::<pg_sys::MemoryContextCallback>();
        (*callback).func = Some(memory_goes);
        (*callback).arg = Rc::into_raw(Rc::clone(&lives)).cast_mut().cast();
        pg_sys::MemoryContextRegisterResetCallback(pg_sys::CurrentMemoryContext, callback);
    }
    lives
}

unsafe extern "C-unwind" fn memory_goes(lives: *mut c_void) {
    // SAFETY: allocated by `watch_memory`, and freed once.
    unsafe { Rc::from_raw(lives.cast::<Cell<bool>>()) }.set(false);
}
