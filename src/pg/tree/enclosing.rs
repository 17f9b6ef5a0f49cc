//! The utility statement (EXPLAIN, DECLARE CURSOR, CREATE TABLE AS) that encloses the query being planned: PostgreSQL
//! does not provide the location of such a query in the source, only that of the enclosing statement.

use std::cell::{Cell, RefCell};

/// Location of an enclosing statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enclosing {
    /// Address of its source text.
    pub source: usize,
    /// Byte offset in it; negative if unknown.
    pub location: i32,
    /// Length in bytes; 0 means to the end.
    pub length: i32,
}

/// The call of the utility hook to which a view belongs.
pub(in crate::pg) type Call = u64;

thread_local! {
    static CURRENT: Cell<Option<Enclosing>> = const { Cell::new(None) };
    /// Calls of the hook that have not returned yet, innermost last.
    static CALLS: RefCell<Vec<Call>> = const { RefCell::new(Vec::new()) };
    static LAST_CALL: Cell<Call> = const { Cell::new(0) };
}

/// The state before a call of the utility hook.
pub(in crate::pg) struct Outer {
    enclosing: Option<Enclosing>,
    calls: usize,
}

/// Called at the beginning of a call of the utility hook.
pub(in crate::pg) fn enter(statement: Enclosing) -> Outer {
    let enclosing = CURRENT.replace(Some(statement));
    LAST_CALL.set(LAST_CALL.get() + 1);
    let calls = CALLS.with_borrow_mut(|calls| {
        calls.push(LAST_CALL.get());
        calls.len() - 1
    });
    Outer { enclosing, calls }
}

/// Called when it has returned or raised an error.
pub(in crate::pg) fn leave(outer: Outer) {
    CURRENT.set(outer.enclosing);
    CALLS.with_borrow_mut(|calls| calls.truncate(outer.calls));
}

/// The innermost call of the hook.
pub(in crate::pg) fn call() -> Call {
    CALLS.with_borrow(|calls| calls.last().copied().unwrap_or(0))
}

/// Whether a call of the hook has not returned yet.
pub(in crate::pg) fn is_under_way(call: Call) -> bool {
    CALLS.with_borrow(|calls| calls.contains(&call))
}

/// The enclosing statement of a query with this source text. It is being executed, so its text is still valid.
pub fn of(source: &[u8]) -> Option<Enclosing> {
    CURRENT.get().filter(|current| current.source == source.as_ptr() as usize)
}
