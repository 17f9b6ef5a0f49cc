//! The utility statement (EXPLAIN, DECLARE CURSOR, CREATE TABLE AS) that encloses the query being planned: PostgreSQL
//! does not say where in the source such a query stands, only where the enclosing statement does.

use std::cell::Cell;

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

thread_local! {
    static CURRENT: Cell<Option<Enclosing>> = const { Cell::new(None) };
}

/// Enters a utility statement; what it gives goes to [`leave`].
pub fn enter(statement: Enclosing) -> Option<Enclosing> {
    CURRENT.replace(Some(statement))
}

/// Leaves a utility statement that ended without an error.
pub fn leave(before: Option<Enclosing>) {
    CURRENT.set(before);
}

/// An error has ended all statements that it passed.
pub fn forget() {
    CURRENT.set(None);
}

/// The enclosing statement of a query with this source text.
pub fn of(source: &[u8]) -> Option<Enclosing> {
    CURRENT.get().filter(|current| current.source == source.as_ptr() as usize)
}
