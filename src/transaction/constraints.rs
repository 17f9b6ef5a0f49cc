//! SET CONSTRAINTS ALL, which nodes that join the transaction later follow.

use std::cell::RefCell;

thread_local! {
    static ALL_CONSTRAINTS: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// SET CONSTRAINTS ALL with this text has run: nodes that join the local transaction later follow it.
pub fn note_all(sql: &[u8]) {
    ALL_CONSTRAINTS.set(Some(sql.to_vec()));
}

/// The text of the last SET CONSTRAINTS ALL of this transaction.
pub fn all() -> Option<Vec<u8>> {
    ALL_CONSTRAINTS.with_borrow(Clone::clone)
}

/// The transaction has ended.
pub fn forget() {
    ALL_CONSTRAINTS.set(None);
}
