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

pub mod after_commit;
pub mod applied;
pub mod block;
pub mod callbacks;
pub mod client_settings;
pub mod commit;
pub mod copy_data;
pub mod execution;
pub mod gid;
pub mod link;
pub mod recovery;
pub mod registry;
pub mod snapshots;
pub mod standby;
pub mod status;
pub mod stream;
pub mod synchronous_replicas;
pub mod two_phase;

pub use after_commit::execute as execute_afterwards;
pub use client_settings::note_change as note_settings_changed;
pub use copy_data::{Copy, copy};
pub use execution::{
    Execution, Step, check_columns, execute, execute_all, query, query_that_writes, start,
};
pub use recovery::{Deed, in_doubt, recover};
pub use registry::{passfile, refuse_silent, sessions_made, target};
pub use standby::{is_refused, refuse as refuse_standby};
pub use status::{finish_user_prepared, status, user_prepared};
pub use synchronous_replicas::expect as expect_replicas;

use crate::catalog::NodeId;
use crate::pg::ipc::wait::pay_latch;
use crate::pg::session::client;
use crate::pg::session::own_settings::OwnSettings;
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

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

/// Whether the local transaction already has a transaction on a node.
pub fn in_use() -> bool {
    registry::any(|link| link.block.is_open())
}

/// Whether the local transaction has written on a node.
pub fn has_written() -> bool {
    registry::any(|link| link.block.wrote())
}

/// The nodes that the current transaction has been to.
pub fn open_nodes() -> Vec<NodeId> {
    let open = |link: &std::rc::Rc<std::cell::RefCell<link::Link>>| {
        let link = link.try_borrow().ok()?;
        link.block.is_open().then_some(link.node.id)
    };
    registry::all().iter().filter_map(open).collect()
}

/// Until dropped, names mean PostgreSQL's own functions and operators, here and in what is sent to nodes, whose sessions
/// follow the `search_path` back afterwards.
pub struct SafePath {
    _path: OwnSettings,
    _then: NoteChange,
}

/// Dropped behind the path.
struct NoteChange;

impl Drop for NoteChange {
    fn drop(&mut self) {
        note_settings_changed();
    }
}

impl SafePath {
    /// Sets the `search_path`.
    pub fn begin() -> Self {
        note_settings_changed();
        Self { _path: OwnSettings::safe_path(), _then: NoteChange }
    }
}

thread_local! {
    /// A link has portals that are to be closed.
    static PORTALS: Cell<bool> = const { Cell::new(false) };
}

/// How long a node may take to be told that portals are of no use any more.
const CLOSE_TIME: Duration = Duration::from_secs(5);

/// The client's statement is done, and what comes next may be long in coming: portals on nodes that nobody reads any more
/// are closed, because they hold snapshots.
#[inline]
pub fn close_portals() {
    if PORTALS.replace(false) && client::in_transaction_block() {
        for link in registry::all() {
            if let Ok(mut link) = link.try_borrow_mut() {
                link.close_portals_now(Instant::now() + CLOSE_TIME);
            }
        }
        pay_latch();
    }
}

fn note_portal() {
    PORTALS.set(true);
}

thread_local! {
    static ALL_CONSTRAINTS: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// SET CONSTRAINTS ALL with this text has run: nodes that join the local transaction later follow it.
pub fn note_all_constraints(sql: &[u8]) {
    ALL_CONSTRAINTS.set(Some(sql.to_vec()));
}

fn all_constraints() -> Option<Vec<u8>> {
    ALL_CONSTRAINTS.with_borrow(Clone::clone)
}

fn forget_constraints() {
    ALL_CONSTRAINTS.set(None);
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

/// A statement that was started on a node may change settings or the role there by itself: a function of the
/// user's, set_config(), a procedure. The next request sets everything anew, so that nothing of it outlives the
/// statement unseen. To be called right behind [`start`].
pub fn forget_settings_of(node: NodeId) {
    for link in registry::all() {
        if let Ok(mut link) = link.try_borrow_mut()
            && link.id() == node
        {
            link.forget_settings();
        }
    }
}
