//! Nesting of the current statement: the number of enclosing statements (functions, `DO`, triggers), the enclosing
//! utility statement, and the enclosing EXPLAIN.
//!
//! The executor and utility hooks run PostgreSQL's part of their work in here. The previous state is restored whether
//! that succeeds or raises an error, which propagates with all its fields, as with PostgreSQL's own `PG_FINALLY`.

use crate::error::{Error, Result};
use crate::pg::error::trampoline;
use crate::pg::tree::enclosing::{self, Enclosing};
use cee_scape::call_with_sigsetjmp;
use pgrx::pg_sys::{self, errcodes::PgSqlErrorCode as Code};
use std::cell::{Cell, RefCell};

unsafe extern "C-unwind" {
    // Not pgrx's binding, whose guard would catch what is thrown here.
    fn pg_re_throw() -> !;
}

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static EXECUTIONS: Cell<u64> = const { Cell::new(0) };
    static EXPLAIN: RefCell<Option<Explain>> = const { RefCell::new(None) };
}

/// Number of enclosing statements; 0 or 1 for the client's own statement, depending on whether its hook has been
/// entered.
pub fn depth() -> u32 {
    DEPTH.get()
}

/// Number of queries that the executor has started in this backend.
pub fn executions() -> u64 {
    EXECUTIONS.get()
}

/// Counts a query that the executor starts.
#[inline]
pub(in crate::pg) fn execution_starts() {
    EXECUTIONS.set(EXECUTIONS.get().wrapping_add(1));
}

/// Whether the current code runs inside another statement or outside of any: deferred triggers at the end of a
/// transaction, checks of a domain while a parameter is bound, expressions evaluated by the planner, and FunctionCall
/// messages run without a portal.
#[inline]
pub fn is_nested() -> bool {
    // SAFETY: reads a variable of this backend.
    DEPTH.get() > 1 || unsafe { pg_sys::ActivePortal.is_null() }
}

/// Whether a query that the executor starts is not the client's own statement, or the query of its EXECUTE: it belongs to a function,
/// a DO block, a utility statement or a cursor.
pub fn is_enclosed() -> bool {
    // SAFETY: reads a variable of this backend.
    DEPTH.get() > 0 || unsafe { pg_sys::ActivePortal.is_null() }
}

/// An EXPLAIN being executed.
#[derive(Debug, Clone)]
pub struct Explain {
    /// Its options as text for a node, without the parentheses.
    pub options: String,
    /// Whether it executes the statement.
    pub analyze: bool,
    /// Nesting depth of the EXPLAIN itself.
    depth: u32,
}

/// Records an EXPLAIN that begins, with its options as text for a node.
pub(in crate::pg) fn explain_begins(options: String, analyze: bool) {
    EXPLAIN.set(Some(Explain { options, analyze, depth: depth() }));
}

/// Whether an EXPLAIN is running that executes its statement.
pub(in crate::pg) fn explain_executes() -> bool {
    EXPLAIN.with_borrow(|explain| explain.as_ref().is_some_and(|explain| explain.analyze))
}

/// The EXPLAIN that is printing its plan, if any.
pub fn printing_explain() -> Option<Explain> {
    at_depth(depth())
}

/// The EXPLAIN whose own statement is being executed, if any; statements of functions called by it do not count.
pub fn executing_explain() -> Option<Explain> {
    at_depth(depth().checked_sub(1)?)
}

fn at_depth(depth: u32) -> Option<Explain> {
    EXPLAIN.with_borrow(|running| running.as_ref().filter(|r| r.depth == depth).cloned())
}

/// Runs a statement of the executor one level deeper; calls `ended` at the end of a client's statement.
///
/// # Safety
/// `body` owns nothing with a destructor, and neither do the frames from which it calls PostgreSQL.
pub(in crate::pg) unsafe fn execute(ended: impl FnOnce(), body: impl FnOnce()) {
    let before = DEPTH.get();
    DEPTH.set(before + 1);
    // SAFETY: by the caller's promise.
    unsafe { finally(body, || DEPTH.set(before), ended) }
}

/// Runs a utility statement; `deeper` tells whether the statements that it runs are nested in it.
///
/// # Safety
/// As [`execute`].
pub(in crate::pg) unsafe fn utility(
    statement: Enclosing,
    deeper: bool,
    ended: impl FnOnce(),
    body: impl FnOnce(),
) {
    let before = DEPTH.get();
    let enclosing = enclosing::enter(statement);
    let explain = EXPLAIN.take();
    DEPTH.set(before + u32::from(deeper));
    let restore = || {
        DEPTH.set(before);
        enclosing::leave(enclosing);
        EXPLAIN.set(explain);
    };
    // SAFETY: by the caller's promise.
    unsafe { finally(body, restore, ended) }
}

/// Runs `body`, then `restore`, whether or not an error is thrown; then `ended` if it is the client's own statement.
///
/// # Safety
/// `body` and `ended` own nothing with a destructor; `restore` raises no errors.
unsafe fn finally(body: impl FnOnce(), restore: impl FnOnce(), ended: impl FnOnce()) {
    // SAFETY: what PG_TRY and PG_FINALLY do: the jump buffer is on the stack until the stacks are put back, and an error
    // that arrives here is thrown again to where it would have gone.
    unsafe {
        let exceptions = pg_sys::PG_exception_stack;
        let contexts = pg_sys::error_context_stack;
        let jumped = call_with_sigsetjmp(false, |buffer| {
            pg_sys::PG_exception_stack = std::ptr::from_ref(buffer).cast_mut().cast();
            body();
            0
        });
        pg_sys::PG_exception_stack = exceptions;
        pg_sys::error_context_stack = contexts;
        restore();
        if jumped != 0 {
            pg_re_throw();
        }
        if DEPTH.get() == 0 {
            trampoline((), || {
                ended();
                Ok(())
            });
        }
    }
}

/// Commits what the statement has done so far and continues in another transaction, like VACUUM.
///
/// Errors: 25001 in a transaction block or a function, whose work belongs to the transaction that would end.
pub fn commit_and_begin() -> Result<()> {
    // SAFETY: reads variables of this backend.
    if depth() > 1 || unsafe { pg_sys::IsInTransactionBlock(true) } {
        return Err(Error::new(
            Code::ERRCODE_ACTIVE_SQL_TRANSACTION,
            "cannot commit within a transaction block or a function",
        ));
    }
    // SAFETY: nothing of the transaction that ends is used afterwards: the statement is the client's own, and its tree is
    // older.
    unsafe {
        while pg_sys::ActiveSnapshotSet() {
            pg_sys::PopActiveSnapshot();
        }
        pg_sys::CommitTransactionCommand();
        pg_sys::StartTransactionCommand();
    }
    Ok(())
}
