//! All sessions of this backend together: what the transaction has done on nodes, and what sessions forget.

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

/// The nodes that the current transaction has been to.
pub fn open_nodes() -> Vec<NodeId> {
    let open = |link: &std::rc::Rc<std::cell::RefCell<link::Link>>| {
        let link = link.try_borrow().ok()?;
        link.block.is_open().then_some(link.node.id)
    };
    links::all().iter().filter_map(open).collect()
}

/// How long a node may take to be told that portals are of no use any more.
const CLOSE_TIME: Duration = Duration::from_secs(5);

/// The client's statement is done, and what comes next may be long in coming: portals on nodes that nobody reads any more
/// are closed, because they hold snapshots.
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

/// DEALLOCATE ALL and DISCARD ALL: statements kept prepared on nodes are closed with the next request there.
pub fn forget_statements() {
    for link in links::all() {
        if let Ok(mut link) = link.try_borrow_mut() {
            link.forget_statements();
        }
    }
}

/// DISCARD ALL: whatever the sessions on nodes hold (settings and roles that functions set there, temporary tables,
/// advisory locks) goes with them.
pub fn close_sessions() {
    links::close_idle();
    forget_statements(); // of those in the middle of a transaction
}

/// A statement that was started on a node may change settings or the role there by itself: a function of the
/// user's, set_config(), a procedure. The next request sets everything again, so that nothing of it outlives the
/// statement unseen. To be called right behind [`super::start`].
pub fn forget_settings_of(node: NodeId) {
    for link in links::all() {
        if let Ok(mut link) = link.try_borrow_mut()
            && link.id() == node
        {
            link.forget_settings();
        }
    }
}
