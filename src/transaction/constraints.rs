//! SET CONSTRAINTS ALL, which also applies to nodes that join the transaction later.

use std::cell::RefCell;

thread_local! {
    static ALL_CONSTRAINTS: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Remembers the text of SET CONSTRAINTS ALL for nodes that join the local transaction later.
pub fn note_all(sql: &[u8]) {
    ALL_CONSTRAINTS.set(Some(sql.to_vec()));
}

/// The text of the last SET CONSTRAINTS ALL of this transaction.
pub fn all() -> Option<Vec<u8>> {
    ALL_CONSTRAINTS.with_borrow(Clone::clone)
}

/// Called at the end of the transaction.
pub fn forget() {
    ALL_CONSTRAINTS.set(None);
}
