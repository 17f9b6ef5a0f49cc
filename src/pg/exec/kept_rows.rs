//! Rows of a scan that may be needed again: in memory, and then on disk.

use pgrx::pg_sys;
use std::ffi::c_int;
use std::ptr;

unsafe extern "C-unwind" {
    // Called for every row, by frames that own nothing with a destructor: no guard of pgrx's.
    fn tuplestore_begin_heap(
        random: bool,
        beyond_transaction: bool,
        memory: c_int,
    ) -> *mut pg_sys::Tuplestorestate;
    fn tuplestore_set_eflags(rows: *mut pg_sys::Tuplestorestate, flags: c_int);
    fn tuplestore_ateof(rows: *mut pg_sys::Tuplestorestate) -> bool;
    fn tuplestore_puttupleslot(
        rows: *mut pg_sys::Tuplestorestate,
        slot: *mut pg_sys::TupleTableSlot,
    );
    fn tuplestore_gettupleslot(
        rows: *mut pg_sys::Tuplestorestate,
        forward: bool,
        copy: bool,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> bool;
    fn tuplestore_rescan(rows: *mut pg_sys::Tuplestorestate);
    fn MakeSingleTupleTableSlot(
        columns: pg_sys::TupleDesc,
        kind: *const pg_sys::TupleTableSlotOps,
    ) -> *mut pg_sys::TupleTableSlot;
    fn slot_getsomeattrs_int(slot: *mut pg_sys::TupleTableSlot, count: c_int);
}

/// Takes the values of a row, which stay where they are, into an empty virtual slot with the same columns.
///
/// # Safety
/// Both slots are valid; `from` has a row.
pub(super) unsafe fn show(from: *mut pg_sys::TupleTableSlot, to: *mut pg_sys::TupleTableSlot) {
    // SAFETY: by the caller's promise.
    unsafe {
        let columns = (*(*to).tts_tupleDescriptor).natts;
        if columns > 0 {
            slot_getsomeattrs_int(from, columns);
        }
        let columns = columns as usize;
        ptr::copy_nonoverlapping((*from).tts_values, (*to).tts_values, columns);
        ptr::copy_nonoverlapping((*from).tts_isnull, (*to).tts_isnull, columns);
        pg_sys::ExecStoreVirtualTuple(to);
    }
}

/// The rows that a scan has given so far.
#[derive(Clone, Copy)]
pub(super) struct KeptRows {
    /// Null as long as none is kept.
    rows: *mut pg_sys::Tuplestorestate,
    /// Where a row is taken apart.
    row: *mut pg_sys::TupleTableSlot,
    /// No further row will come.
    complete: bool,
}

impl KeptRows {
    /// Keeps the rows of `slot` from now on.
    ///
    /// # Safety
    /// Called in the memory context of the execution; `slot` is valid. An error of the server's leaves this without an
    /// unwinding.
    pub(super) unsafe fn begin(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: by the caller's promise.
        unsafe {
            self.rows = tuplestore_begin_heap(false, false, pg_sys::work_mem);
            tuplestore_set_eflags(self.rows, pg_sys::EXEC_FLAG_REWIND as c_int);
            let columns = (*slot).tts_tupleDescriptor;
            self.row = MakeSingleTupleTableSlot(columns, &raw const pg_sys::TTSOpsMinimalTuple);
        }
    }

    /// Whether rows are kept.
    pub(super) fn is_some(&self) -> bool {
        !self.rows.is_null()
    }

    /// Shows the next row that was kept; false behind the last one.
    ///
    /// # Safety
    /// Rows are kept; `slot` is that of [`Self::begin`], and empty. Errors as there.
    pub(super) unsafe fn next(&mut self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: by the caller's promise.
        unsafe {
            if tuplestore_ateof(self.rows)
                || !tuplestore_gettupleslot(self.rows, true, false, self.row)
            {
                return false;
            }
            show(self.row, slot);
            true
        }
    }

    /// Keeps one more row, behind which the reader stands then.
    ///
    /// # Safety
    /// Rows are kept, and all of them have been shown; `slot` has a row. Errors as for [`Self::begin`].
    pub(super) unsafe fn add(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: by the caller's promise.
        unsafe { tuplestore_puttupleslot(self.rows, slot) }
    }

    /// Notes that the scan has ended.
    pub(super) fn complete(&mut self) {
        self.complete = true;
    }

    /// Whether the scan has ended.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Begins with the first row again.
    ///
    /// # Safety
    /// Rows are kept. Errors as for [`Self::begin`].
    pub(super) unsafe fn rewind(&mut self) {
        // SAFETY: by the caller's promise.
        unsafe { tuplestore_rescan(self.rows) }
    }

    /// Gives the rows up.
    pub(super) fn end(&mut self) {
        if self.is_some() {
            // SAFETY: both were made by `begin`, and are ended once.
            unsafe {
                pg_sys::ExecDropSingleTupleTableSlot(self.row);
                pg_sys::tuplestore_end(self.rows);
            }
            self.rows = ptr::null_mut();
        }
    }
}
