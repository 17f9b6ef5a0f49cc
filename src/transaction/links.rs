//! This backend's links: one for each node and session user, kept across transactions.

use super::link::Link;
use super::standby;
use super::target::{refuse_silent, target};
use crate::catalog::{self, Node, NodeId};
use crate::error::{Error, Result};
use crate::pg::catalog::privileges;
use crate::pg::session::xact;
use crate::remote::{Session, Target};
use crate::settings::session::OTHER_LOGIN_NAME;
use crate::shared::node_health;
use pgrx::pg_sys::Oid;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::rc::Rc;

/// Several links.
pub type Links = Vec<Rc<RefCell<Link>>>;

struct Entry {
    node: NodeId,
    user: Oid,
    /// Whether the client's login role is another one.
    other_login: bool,
    link: Rc<RefCell<Link>>,
}

thread_local! {
    static MADE: Cell<u64> = const { Cell::new(0) };
    static REQUESTS: Cell<u64> = const { Cell::new(0) };
    // Not dropped at process exit: the server has cleaned up by then, and the sockets are closed anyway.
    static LINKS: ManuallyDrop<RefCell<Vec<Entry>>> = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

/// Number of sessions that this backend has opened: a new one may be with another server.
pub fn sessions_made() -> u64 {
    MADE.get()
}

/// Number of requests that this backend has begun: nothing on a node is changed by this session without one.
pub fn requests_sent() -> u64 {
    REQUESTS.get()
}

/// The link to a node for the session's user, connecting if necessary.
///
/// 08001 if the node cannot be reached; 08006 if it was lost earlier in this transaction.
pub fn link(id: NodeId) -> Result<Rc<RefCell<Link>>> {
    REQUESTS.set(REQUESTS.get().wrapping_add(1));
    standby::refuse()?;
    let (user, _) = xact::users();
    let other_login = xact::has_other_session_user();
    let node = catalog::node(id)?;
    node.check_ours()?;
    refuse_split(id, (user, other_login), &node.name)?;
    if let Some(link) = find(id, (user, other_login)) {
        if is_usable(&link, &node)? {
            return Ok(link);
        }
        let demoted = link.try_borrow().is_ok_and(|link| link.demoted);
        LINKS.with(|links| {
            links.borrow_mut().retain(|entry| {
                // If writes are rejected, sessions of other users are with the same server.
                let same = demoted && entry.node == id && !is_open(&entry.link);
                !same && !Rc::ptr_eq(&entry.link, &link)
            });
        });
    }
    let role = privileges::role_name(user);
    refuse_silent(&node)?;
    super::introduction::introduce(&node)?;
    let told = other_login.then(|| (OTHER_LOGIN_NAME, "on".to_owned()));
    let target = Target { parameters: told.into_iter().collect(), ..target(&node, &role)? };
    let mut session =
        Session::connect(&Rc::new(target), &role).inspect_err(|_| node_health::suspect(id.0))?;
    session.show(id.0);
    MADE.set(MADE.get() + 1);
    let link = Rc::new(RefCell::new(Link::new(session, node)));
    LINKS.with(|links| {
        links.borrow_mut().push(Entry { node: id, user, other_login, link: Rc::clone(&link) });
    });
    Ok(link)
}

fn find(node: NodeId, user: (Oid, bool)) -> Option<Rc<RefCell<Link>>> {
    LINKS.with(|links| {
        let links = links.borrow();
        let entry = links
            .iter()
            .find(|entry| entry.node == node && (entry.user, entry.other_login) == user)?;
        Some(Rc::clone(&entry.link))
    })
}

/// Two sessions do not see each other's uncommitted changes, and would deadlock on each other's locks undetected.
fn refuse_split(node: NodeId, user: (Oid, bool), name: &str) -> Result<()> {
    let split = LINKS.with(|links| {
        links.borrow().iter().any(|entry| {
            entry.node == node
                && (entry.user, entry.other_login) != user
                && entry.link.try_borrow().is_ok_and(|link| link.block.wrote())
        })
    });
    if !split {
        return Ok(());
    }
    Err(Error::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!(
            "cannot use node \"{name}\" as two users in one transaction that has written there"
        ),
    )
    .detail("A SECURITY DEFINER function uses a separate session on the node.")
    .hint("Make the function SECURITY INVOKER, or call it in a separate transaction."))
}

fn is_usable(link: &RefCell<Link>, node: &Rc<Node>) -> Result<bool> {
    let mut link = link.try_borrow_mut().map_err(|_| busy(&node.name))?;
    if link.is_stale() {
        return if link.block.is_open() { Err(lost_earlier(&link)) } else { Ok(false) };
    }
    if !Rc::ptr_eq(&link.node, node) {
        let old = &link.node;
        let moved = (&old.addresses, &old.database, &old.options)
            != (&node.addresses, &node.database, &node.options);
        if moved && !link.block.is_open() {
            return Ok(false);
        }
        link.node = Rc::clone(node);
    }
    Ok(true)
}

fn busy(node: &str) -> Error {
    Error::new(
        PgSqlErrorCode::ERRCODE_OBJECT_IN_USE,
        format!("the session with node \"{node}\" is in use by the calling statement"),
    )
}

/// A transaction cannot continue on a node whose connection was lost.
pub fn lost_earlier(link: &Link) -> Error {
    Error::new(
        PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE,
        format!("the connection to node \"{}\" was lost in this transaction", link.node.name),
    )
    .detail("Changes made by the transaction on the node have been rolled back.")
    .hint("Roll back the transaction and run it again.")
}

/// All links.
pub fn all() -> Vec<Rc<RefCell<Link>>> {
    LINKS.with(|links| links.borrow().iter().map(|entry| Rc::clone(&entry.link)).collect())
}

/// Whether any link satisfies the condition; links in use by an outer stack frame are skipped.
#[inline]
pub fn any(is: impl Fn(&Link) -> bool) -> bool {
    LINKS.with(|links| {
        links.borrow().iter().any(|entry| entry.link.try_borrow().is_ok_and(|link| is(&link)))
    })
}

/// Whether the end of the local (sub)transaction concerns a node.
#[inline]
pub fn is_concerned() -> bool {
    LINKS.with(|links| {
        links.borrow().iter().any(|e| e.link.try_borrow().map_or(true, |l| l.is_concerned()))
    })
}

/// Closes all sessions that no transaction needs.
pub fn close_idle() {
    LINKS.with(|links| links.borrow_mut().retain(|entry| is_open(&entry.link)));
}

/// Whether a transaction needs the link, or it is in use.
fn is_open(link: &RefCell<Link>) -> bool {
    link.try_borrow().map_or(true, |link| link.block.is_open())
}

/// Drops the links whose connection is lost; only when no transaction depends on them.
pub fn forget_lost() {
    LINKS.with(|links| {
        links
            .borrow_mut()
            .retain(|entry| entry.link.try_borrow().is_ok_and(|link| !link.session.is_lost()));
    });
}
