//! What the running statement is nested in: how many statements are around it (functions, `DO`, triggers), which utility
//! statement encloses it, and which EXPLAIN.
//!
//! The executor and utility hooks run PostgreSQL's part of their work in here. Whether that ends well or by an error, what
//! was before is put back; the error goes on with all its fields, as with PostgreSQL's own `PG_FINALLY`.

use crate::error::{Error, Result};
use crate::pg::error::trampoline;
use crate::pg::tree::enclosing::{self, Enclosing};
use cee_scape::call_with_sigsetjmp;
use pgrx::pg_sys::{self, errcodes::PgSqlErrorCode as Code};
use std::cell::{Cell, RefCell};

unsafe extern "C-unwind" {
    // Not the binding of pgrx: its guard would catch what is thrown here.
    fn pg_re_throw() -> !;
}

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static EXPLAIN: RefCell<Option<Explain>> = const { RefCell::new(None) };
}

/// Number of statements around this one; 0 or 1 for what the client sent itself, depending on whether its own
/// hook has entered yet.
pub fn depth() -> u32 {
    DEPTH.get()
}

/// Whether what runs now is inside of another statement, or of none: deferred triggers at the end of a transaction, checks
/// of a domain while a parameter is bound, what the planner computes and a FunctionCall message run while no portal does.
#[inline]
pub fn is_nested() -> bool {
    // SAFETY: reads a variable of this backend.
    DEPTH.get() > 1 || unsafe { pg_sys::ActivePortal.is_null() }
}

/// An EXPLAIN that is running.
#[derive(Debug, Clone)]
pub struct Explain {
    /// Its options as text for a node, without the parentheses.
    pub options: String,
    /// Whether it executes the statement.
    pub analyze: bool,
    /// Nesting depth of the EXPLAIN itself.
    depth: u32,
}

/// Notes the EXPLAIN that begins, with its options as text for a node.
pub(in crate::pg) fn explain_begins(options: String, analyze: bool) {
    EXPLAIN.set(Some(Explain { options, analyze, depth: depth() }));
}

/// Whether an EXPLAIN is running that executes its statement.
pub(in crate::pg) fn explain_executes() -> bool {
    EXPLAIN.with_borrow(|explain| explain.as_ref().is_some_and(|explain| explain.analyze))
}

/// The EXPLAIN that is printing its plan, if there is one.
pub fn printing_explain() -> Option<Explain> {
    at_depth(depth())
}

/// The EXPLAIN whose own statement is being executed, if there is one; what functions in that statement run does not count.
pub fn executing_explain() -> Option<Explain> {
    at_depth(depth().checked_sub(1)?)
}

fn at_depth(depth: u32) -> Option<Explain> {
    EXPLAIN.with_borrow(|running| running.as_ref().filter(|r| r.depth == depth).cloned())
}

/// Runs a statement of the executor, one deeper; calls `ended` when a statement of the client's has run.
///
/// # Safety
/// `body` owns nothing with a destructor, and neither do the frames that it calls PostgreSQL from.
pub(in crate::pg) unsafe fn execute(ended: impl FnOnce(), body: impl FnOnce()) {
    let before = DEPTH.get();
    DEPTH.set(before + 1);
    // SAFETY: by the caller's promise.
    unsafe { finally(body, || DEPTH.set(before), ended) }
}

/// Runs a utility statement; `deeper` says whether what it runs is nested in it.
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

/// Runs `body`, then `restore`, whether or not an error is thrown through; `ended` behind what the client itself sent.
///
/// # Safety
/// `body` and `ended` own nothing with a destructor; `restore` raises nothing.
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

/// Commits what the statement has done so far and goes on in another transaction, as VACUUM does.
///
/// Errors: 25001 in a transaction block or a function, where what is under way belongs to the transaction that would end.
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
