//! Properties of this session's statements that matter to their node: whether one is alone in its transaction, and
//! where the session wrote last.

use crate::pg::exec::nesting;
use crate::pg::session::{client, xact};
use crate::transaction::{self, Mode};
use pgrx::pg_sys::Oid;
use std::cell::Cell;

thread_local! {
    static LAST_WRITTEN: Cell<Option<Oid>> = const { Cell::new(None) };
}

/// Records that a statement of this session writes in this namespace.
pub fn note_write(namespace: Oid) {
    LAST_WRITTEN.set(Some(namespace));
}

/// Records that a sequence on this server has been advanced.
pub fn note_local_sequence() {
    LAST_WRITTEN.set(None);
}

/// The namespace on a node in which this session wrote last; its node knows `lastval()`.
pub fn last_written() -> Option<Oid> {
    LAST_WRITTEN.get()
}

/// Whether the current statement is alone in its transaction, so that it needs no BEGIN on its node.
pub fn mode() -> Mode {
    let alone = !nesting::is_nested()
        && client::has_client()
        && !client::in_transaction_block()
        && !transaction::in_use()
        && !xact::wrote_here()
        && !xact::has_own_properties()
        && (client::in_simple_query() || client::next_message_is_sync());
    if alone { Mode::Autocommit } else { Mode::Transaction }
}
