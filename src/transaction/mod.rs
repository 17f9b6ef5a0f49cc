//! Statements on nodes as part of the local transaction: the planner, the executor and DDL send everything
//! through here.
//!
//! Invariant: what a node's session is in the middle of (transaction, savepoints, settings, role, request) is
//! known exactly, or the session is given up. A local transaction that commits has committed, or left
//! prepared with a commit record, everything it wrote on nodes; one that rolls back leaves nothing there that
//! is not rolled back or prepared without a record.
//!
//! A link is borrowed only while nothing else runs on behalf of the client: never while a row is looked at.
//! Lock order: none of our own; locks on nodes are taken in the order of the client's statements.

mod applied;
mod block;
mod copy;
mod events;
mod execution;
mod follow;
mod link;
mod recovery;
mod registry;
mod stream;
mod two_phase;

pub use copy::{Copy, Direction, copy};
pub use execution::{Execution, Step, execute, query, start};
pub use follow::note_change as note_settings_changed;
pub use recovery::{Recovered, recover};
pub use registry::target;

use crate::directory::NodeId;
use std::cell::Cell;

/// Whether a statement on a node is a transaction of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The statement is alone in its local transaction: it commits on the node when it completes.
    Autocommit,
    /// The statement is part of a local transaction, which a transaction on the node follows.
    Transaction,
}

/// How rows are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// All of them, as a stream.
    All,
    /// This many at a time, from a portal that stays open meanwhile; always part of a transaction.
    Batch(u32),
}

thread_local! {
    static WRITTEN: Cell<Option<NodeId>> = const { Cell::new(None) };
}

/// Listens to the local transaction. Called once, from `_PG_init`.
pub fn install() {
    crate::pg::xact::listen(events::on_event);
}

/// The node that the last writing statement of this session went to: it knows `lastval()`.
pub fn last_written_node() -> Option<NodeId> {
    WRITTEN.get()
}

fn note_written(node: NodeId) {
    WRITTEN.set(Some(node));
}

/// Whether the local transaction already has a transaction on a node.
pub fn in_use() -> bool {
    registry::any(|link| link.block.is_open())
}

/// The nodes that the current transaction has been to.
pub fn open_nodes() -> Vec<NodeId> {
    let open = |link: &std::rc::Rc<std::cell::RefCell<link::Link>>| {
        let link = link.try_borrow().ok()?;
        link.block.is_open().then_some(link.node.id)
    };
    registry::all().iter().filter_map(open).collect()
}

/// DEALLOCATE ALL and DISCARD ALL: statements kept prepared on nodes are closed with the next request there.
pub fn forget_statements() {
    for link in registry::all() {
        if let Ok(mut link) = link.try_borrow_mut() {
            link.forget_statements();
        }
    }
}

/// DISCARD ALL: whatever the sessions on nodes hold (settings and roles that functions set there, temporary tables,
/// advisory locks) goes with them.
pub fn close_sessions() {
    registry::close_idle();
    forget_statements(); // of those in the middle of a transaction
}

/// RESET ALL, or a statement that may change settings or the role on nodes by itself: the next request there sets
/// everything anew.
pub fn forget_node_settings() {
    for link in registry::all() {
        if let Ok(mut link) = link.try_borrow_mut() {
            link.forget_settings();
        }
    }
}

/// The same for one node.
pub fn forget_settings_of(node: NodeId) {
    for link in registry::all() {
        if let Ok(mut link) = link.try_borrow_mut()
            && link.id() == node
        {
            link.forget_settings();
        }
    }
}
