//! Operations on all sessions of this backend: what the transaction has done on nodes, and what sessions discard.

use super::{link, links, portals};
use crate::catalog::NodeId;
use crate::pg::ipc::wait::pay_latch;
use crate::pg::session::client;
use std::time::{Duration, Instant};

/// Whether the local transaction already has a transaction on a node.
pub fn in_use() -> bool {
    links::any(|link| link.block.is_open())
}

/// Whether the local transaction has written on a node.
pub fn has_written() -> bool {
    links::any(|link| link.block.wrote())
}

/// The nodes that the current transaction has used.
pub fn open_nodes() -> Vec<NodeId> {
    let open = |link: &std::rc::Rc<std::cell::RefCell<link::Link>>| {
        let link = link.try_borrow().ok()?;
        link.block.is_open().then_some(link.node.id)
    };
    links::all().iter().filter_map(open).collect()
}

/// Time limit for closing unused portals on a node.
const CLOSE_TIME: Duration = Duration::from_secs(5);

/// Closes unused portals on nodes at the end of the client's statement, because the next one may be long in coming and
/// they hold snapshots.
#[inline]
pub fn close_portals() {
    if portals::take() && client::in_transaction_block() {
        for link in links::all() {
            if let Ok(mut link) = link.try_borrow_mut() {
                link.close_portals_now(Instant::now() + CLOSE_TIME);
            }
        }
        pay_latch();
    }
}

/// DEALLOCATE ALL and DISCARD ALL: prepared statements on nodes are closed with the next request.
pub fn forget_statements() {
    for link in links::all() {
        if let Ok(mut link) = link.try_borrow_mut() {
            link.forget_statements();
        }
    }
}

/// DISCARD ALL: closes the sessions with nodes, and thereby discards settings and roles set by functions, temporary
/// tables and advisory locks.
pub fn close_sessions() {
    links::close_idle();
    forget_statements(); // of those in the middle of a transaction
}

/// A statement started on a node may itself change settings or the role there: a user-defined function, set_config(), a
/// procedure. The next request sets everything again, so that no such change outlives the statement unnoticed. Must be
/// called right after [`super::start`].
pub fn forget_settings_of(node: NodeId) {
    for link in links::all() {
        if let Ok(mut link) = link.try_borrow_mut()
            && link.id() == node
        {
            link.forget_settings();
        }
    }
}
