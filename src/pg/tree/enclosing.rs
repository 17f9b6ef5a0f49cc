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

/// Sets the enclosing statement while it runs; gives the one before.
pub(in crate::pg) fn replace(statement: Option<Enclosing>) -> Option<Enclosing> {
    CURRENT.replace(statement)
}

/// The enclosing statement of a query with this source text. It is running, so its text is where it was.
pub fn of(source: &[u8]) -> Option<Enclosing> {
    CURRENT.get().filter(|current| current.source == source.as_ptr() as usize)
}
