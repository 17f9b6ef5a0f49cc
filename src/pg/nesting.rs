//! How deep the running statement is nested in others (functions, `DO`, triggers, `EXPLAIN ANALYZE`).
//!
//! The executor and utility hooks enter and leave; an error skips the leaving, so the depth is restored where
//! PostgreSQL itself picks up again: at the end of an aborted subtransaction (an exception block) to what it was
//! when that subtransaction began, and at the end of an aborted transaction to zero.

use super::{enclosing, explain};
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// Depth at the start of every open subtransaction.
    static AT_START: RefCell<Vec<(pg_sys::SubTransactionId, u32)>> = const { RefCell::new(Vec::new()) };
}

/// Number of statements around this one; 0 or 1 for what the client sent itself, depending on whether its own
/// hook has entered yet.
pub fn depth() -> u32 {
    DEPTH.get()
}

/// Enters a statement; what it gives goes to [`leave`].
pub fn enter() -> u32 {
    DEPTH.replace(DEPTH.get() + 1)
}

/// Leaves a statement that ended without an error.
pub fn leave(before: u32) {
    DEPTH.set(before);
}

/// Registers the transaction callbacks; once a backend.
pub fn install() {
    // SAFETY: plain registration of functions that live as long as the process.
    unsafe {
        pg_sys::RegisterXactCallback(Some(on_transaction), ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(on_subtransaction), ptr::null_mut());
    }
}

unsafe extern "C-unwind" fn on_transaction(event: pg_sys::XactEvent::Type, _: *mut c_void) {
    use pg_sys::XactEvent::*;
    if matches!(event, XACT_EVENT_COMMIT | XACT_EVENT_ABORT | XACT_EVENT_PREPARE) {
        AT_START.with_borrow_mut(Vec::clear);
    }
    // An error has unwound every statement: PostgresMain clears the error context stack before it aborts. A
    // procedure's own ROLLBACK goes on inside its statement and keeps its depth.
    // SAFETY: reads a global of this single-threaded backend.
    if event == XACT_EVENT_ABORT && unsafe { pg_sys::error_context_stack.is_null() } {
        DEPTH.set(0);
        explain::ended();
    }
    if event == XACT_EVENT_ABORT {
        enclosing::forget();
    }
}

unsafe extern "C-unwind" fn on_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    id: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _: *mut c_void,
) {
    use pg_sys::SubXactEvent::*;
    match event {
        SUBXACT_EVENT_START_SUB => AT_START.with_borrow_mut(|open| open.push((id, DEPTH.get()))),
        SUBXACT_EVENT_ABORT_SUB | SUBXACT_EVENT_COMMIT_SUB => AT_START.with_borrow_mut(|open| {
            while let Some((open_id, depth)) = open.pop() {
                if open_id == id {
                    if event == SUBXACT_EVENT_ABORT_SUB {
                        DEPTH.set(depth);
                        enclosing::forget();
                        explain::ended_below(depth);
                    }
                    break;
                }
            }
        }),
        _ => {}
    }
}
