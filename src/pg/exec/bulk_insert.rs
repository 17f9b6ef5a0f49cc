//! Inserts rows of a COPY frozen into a table that nobody can see yet: they need no vacuum later, their pages are
//! all-visible from the start, and their first readers need not set hint bits.
//!
//! The price is that of COPY's FREEZE option: the rows are visible at once, and remain if the transaction aborts. COPY
//! requires a table created in the same transaction, which several parallel sessions cannot have; here the caller is
//! responsible.

use crate::pg::catalog::types::tuple_attribute;
use pgrx::pg_sys;
use std::ffi::c_int;
use std::ptr;

/// Number of rows inserted together, as in COPY.
const ROWS: usize = 1000;
/// Size of the rows inserted together, in bytes; a single row may be larger.
const BYTES: usize = 256 * 1024;

/// Whether rows with this many columns can be inserted into the table this way: inserting them has no side effects and
/// adds no values.
///
/// # Safety
/// The relation is open.
pub unsafe fn is_possible(relation: pg_sys::Relation, columns: usize) -> bool {
    // SAFETY: by the caller's promise; an open relation has these parts.
    unsafe {
        let row = (*relation).rd_att;
        let all = 0..(*row).natts as usize;
        let there = all.filter(|at| !(*tuple_attribute(row, *at)).attisdropped).count();
        let constraints = (*row).constr;
        let computes = !constraints.is_null() && (*constraints).has_generated_stored;
        let is_heap = (*relation).rd_tableam == pg_sys::GetHeapamTableAmRoutine();
        let triggers = (*relation).trigdesc;
        columns == there
            && is_heap
            && !computes
            && !(*(*relation).rd_rel).relhasindex
            && triggers.is_null()
    }
}

/// Inserts all rows of a COPY into its table; returns their number. Constraints are not checked.
///
/// # Safety
/// The relation is the open one with which the COPY was begun, and [`is_possible`] is true for it and its columns.
pub unsafe fn frozen(relation: pg_sys::Relation, copy: pg_sys::CopyFromState) -> u64 {
    // SAFETY: everything is allocated here and released at the end; on error, the transaction releases it.
    unsafe {
        let mut batch = Batch::new(relation);
        let caller = pg_sys::MemoryContextSwitchTo(batch.memory);
        let mut rows = 0;
        while batch.take(copy) {
            rows += 1;
            if batch.is_full() {
                batch.put(relation);
            }
        }
        batch.put(relation);
        pg_sys::MemoryContextSwitchTo(caller);
        batch.end();
        rows
    }
}

/// Rows waiting to be inserted.
struct Batch {
    slots: Vec<*mut pg_sys::TupleTableSlot>,
    count: usize,
    state: pg_sys::BulkInsertState,
    command: pg_sys::CommandId,
    /// Memory context of the rows.
    memory: pg_sys::MemoryContext,
}

impl Batch {
    unsafe fn new(relation: pg_sys::Relation) -> Self {
        // SAFETY: the relation is open; what is made lives in the statement's memory.
        unsafe {
            Self {
                slots: (0..ROWS)
                    .map(|_| pg_sys::table_slot_create(relation, ptr::null_mut()))
                    .collect(),
                count: 0,
                state: pg_sys::GetBulkInsertState(),
                command: pg_sys::GetCurrentCommandId(true),
                memory: pg_sys::AllocSetContextCreateInternal(
                    pg_sys::CurrentMemoryContext,
                    c"rows of a copy".as_ptr(),
                    pg_sys::ALLOCSET_DEFAULT_MINSIZE as pg_sys::Size,
                    pg_sys::ALLOCSET_DEFAULT_INITSIZE as pg_sys::Size,
                    pg_sys::ALLOCSET_DEFAULT_MAXSIZE as pg_sys::Size,
                ),
            }
        }
    }

    /// Reads the next row; false after the last.
    unsafe fn take(&mut self, copy: pg_sys::CopyFromState) -> bool {
        // SAFETY: the slot is empty, with room for the table's columns; no default is computed, which would need more
        // than a null context, because COPY reads all columns.
        unsafe {
            let slot = self.slots[self.count];
            let (values, nulls) = ((*slot).tts_values, (*slot).tts_isnull);
            if !pg_sys::NextCopyFrom(copy, ptr::null_mut(), values, nulls) {
                return false;
            }
            pg_sys::ExecStoreVirtualTuple(slot);
        }
        self.count += 1;
        true
    }

    fn is_full(&self) -> bool {
        // SAFETY: the context lives as long as the batch.
        let bytes = unsafe { (*self.memory).mem_allocated };
        self.count == ROWS || bytes > BYTES
    }

    unsafe fn put(&mut self, relation: pg_sys::Relation) {
        let full = &mut self.slots[..self.count];
        if full.is_empty() {
            return;
        }
        // SAFETY: the slots hold rows of the relation. Clearing one frees memory, which does not fail; the rows' own
        // memory goes after that.
        unsafe {
            pg_sys::heap_multi_insert(
                relation,
                full.as_mut_ptr(),
                self.count as c_int,
                self.command,
                pg_sys::TABLE_INSERT_FROZEN as c_int,
                self.state,
            );
            for slot in full {
                if let Some(clear) = (*(**slot).tts_ops).clear {
                    clear(*slot);
                }
            }
            pg_sys::MemoryContextReset(self.memory);
        }
        self.count = 0;
    }

    unsafe fn end(self) {
        // SAFETY: allocated in `new`, and no longer used.
        unsafe {
            pg_sys::FreeBulkInsertState(self.state);
            for slot in self.slots {
                pg_sys::ExecDropSingleTupleTableSlot(slot);
            }
            pg_sys::MemoryContextDelete(self.memory);
        }
    }
}
