//! The utility statement (EXPLAIN, DECLARE CURSOR, CREATE TABLE AS) that encloses the query being planned: PostgreSQL
//! does not say where in the source such a query stands, only where the enclosing statement does.

use std::cell::{Cell, RefCell};

/// Where an enclosing statement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enclosing {
    /// Address of its source text.
    pub source: usize,
    /// Byte offset in it; negative if unknown.
    pub location: i32,
    /// Length in bytes; 0 means to the end.
    pub length: i32,
}

/// Which call of the utility hook a view belongs to.
pub(in crate::pg) type Call = u64;

thread_local! {
    static CURRENT: Cell<Option<Enclosing>> = const { Cell::new(None) };
    /// Calls of the hook that have not returned yet, the innermost last.
    static CALLS: RefCell<Vec<Call>> = const { RefCell::new(Vec::new()) };
    static LAST_CALL: Cell<Call> = const { Cell::new(0) };
}

/// What there was before a call of the utility hook.
pub(in crate::pg) struct Outer {
    enclosing: Option<Enclosing>,
    calls: usize,
}

/// A call of the utility hook begins.
pub(in crate::pg) fn enter(statement: Enclosing) -> Outer {
    let enclosing = CURRENT.replace(Some(statement));
    LAST_CALL.set(LAST_CALL.get() + 1);
    let calls = CALLS.with_borrow_mut(|calls| {
        calls.push(LAST_CALL.get());
        calls.len() - 1
    });
    Outer { enclosing, calls }
}

/// It has returned, or an error has passed it.
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

/// The enclosing statement of a query with this source text. It is running, so its text is where it was.
pub fn of(source: &[u8]) -> Option<Enclosing> {
    CURRENT.get().filter(|current| current.source == source.as_ptr() as usize)
}
