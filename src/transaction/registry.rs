//! This backend's links: one for each node and session user, kept from transaction to transaction.

use super::link::Link;
use super::standby;
use crate::catalog::{self, Node, NodeId};
use crate::error::{Error, Result};
use crate::pg::catalog::privileges;
use crate::pg::ipc::node_health;
use crate::pg::session::session_settings::OTHER_LOGIN_NAME;
use crate::pg::session::xact;
use crate::remote::{Session, SslMode, Target, Tcp};
use crate::settings;
use pgrx::pg_sys::Oid;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

struct Entry {
    node: NodeId,
    user: Oid,
    /// Whether the client's login is another role.
    other_login: bool,
    link: Rc<RefCell<Link>>,
}

thread_local! {
    static MADE: Cell<u64> = const { Cell::new(0) };
    // Not dropped at the end of the process: the server has cleaned up by then, and the sockets close anyway.
    static LINKS: ManuallyDrop<RefCell<Vec<Entry>>> = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

/// Counts the sessions that this backend has made: another one may be with another server.
pub fn sessions_made() -> u64 {
    MADE.get()
}

/// The link to a node for the session's user, connected if it was not.
///
/// 08001 if the node cannot be reached; 08006 if it was lost earlier in this transaction.
pub fn link(id: NodeId) -> Result<Rc<RefCell<Link>>> {
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
                // Where writes are refused, the sessions of other users are no better.
                let same = demoted && entry.node == id && !is_open(&entry.link);
                !same && !Rc::ptr_eq(&entry.link, &link)
            });
        });
    }
    let role = privileges::role_name(user);
    refuse_silent(&node)?;
    super::recovery::introduce(&node)?;
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

/// A node that gives no sign would keep everybody waiting for the whole `helios.connect_timeout`.
///
/// 08001 if the last looks at the node, not long ago, got no answer.
pub fn refuse_silent(node: &Node) -> Result<()> {
    let Some(health) = node_health::of(node.id.0) else { return Ok(()) };
    // A look at silent nodes takes seconds itself.
    let fresh = 3.0 * f64::from(settings::HEALTH_INTERVAL.get()) / 1000.0 + 10.0;
    if health.state != node_health::State::Silent || node_health::age(health.checked) > fresh {
        return Ok(());
    }
    let seconds = node_health::age(health.since);
    Err(Error::new(
        PgSqlErrorCode::ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
        format!("node \"{}\" is offline", node.name),
    )
    .detail(format!("It has not answered for {seconds:.0} seconds."))
    .hint("It is tried again every helios.health_interval; helios_nodes shows its state."))
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

/// Two sessions do not see each other's uncommitted changes, and would wait for each other's locks without end.
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
        format!("one transaction cannot use node \"{name}\" as two users after it has written there"),
    )
    .detail("A function that runs as its owner (SECURITY DEFINER) has a session of its own on the node.")
    .hint("Make the function SECURITY INVOKER, or call it in a transaction of its own."))
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
        format!("the session to node \"{node}\" is in use by a statement that called this one"),
    )
}

/// A transaction that used a node whose connection is gone cannot go on there.
pub fn lost_earlier(link: &Link) -> Error {
    Error::new(
        PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE,
        format!("the connection to node \"{}\" was lost in this transaction", link.node.name),
    )
    .detail("What the transaction did there is rolled back.")
    .hint("Roll the transaction back and run it again.")
}

/// Whoever owns a database can set its `search_path`, and the sessions of Helios' own have more rights than he.
const SAFE_PATH: (&str, &str) = ("search_path", "pg_catalog, pg_temp");

/// What a session of Helios' own needs to know of a node, for a role. A client's has the client's `search_path` instead.
pub fn target(node: &Node, role: &str) -> Result<Target> {
    standby::refuse()?;
    node.check_ours()?;
    let mut target = Target {
        id: Some(node.id.0),
        name: node.name.clone(),
        addresses: node.addresses.iter().map(|a| (a.host.clone(), a.port)).collect(),
        database: node.database.clone(),
        sslmode: SslMode::Prefer,
        sslrootcert: None,
        sslcert: None,
        sslkey: None,
        password: catalog::password(node.id, role),
        passfile: passfile(),
        proof: catalog::proof::of_session(node.id, role),
        connect_timeout: Duration::from_millis(
            u64::try_from(settings::CONNECT_TIMEOUT.get()).unwrap_or(5000),
        ),
        tcp: Tcp::from_settings(),
        parameters: vec![(SAFE_PATH.0, SAFE_PATH.1.to_owned())],
    };
    target.set_options(&node.options)?;
    Ok(target)
}

/// The file of passwords for sessions to nodes: that of `helios.passfile`, or the operating system user's.
pub fn passfile() -> Option<PathBuf> {
    let set = settings::PASSFILE.get().map(|path| path.to_string_lossy().into_owned());
    match set.filter(|path| !path.is_empty()) {
        Some(path) => Some(PathBuf::from(path)),
        None => std::env::home_dir().map(|home| home.join(".pgpass")),
    }
}

/// Every link, to look at.
pub fn all() -> Vec<Rc<RefCell<Link>>> {
    LINKS.with(|links| links.borrow().iter().map(|entry| Rc::clone(&entry.link)).collect())
}

/// Whether a link is like this; those in use by a frame below are not asked.
#[inline]
pub fn any(is: impl Fn(&Link) -> bool) -> bool {
    LINKS.with(|links| {
        links.borrow().iter().any(|entry| entry.link.try_borrow().is_ok_and(|link| is(&link)))
    })
}

/// Whether the end of the local (sub)transaction means anything to a node.
#[inline]
pub fn is_concerned() -> bool {
    LINKS.with(|links| {
        links.borrow().iter().any(|e| e.link.try_borrow().map_or(true, |l| l.is_concerned()))
    })
}

/// Closes every session that no transaction needs.
pub fn close_idle() {
    LINKS.with(|links| links.borrow_mut().retain(|entry| is_open(&entry.link)));
}

/// Whether a transaction needs the link, or somebody uses it.
fn is_open(link: &RefCell<Link>) -> bool {
    link.try_borrow().map_or(true, |link| link.block.is_open())
}

/// Drops the links whose connection is gone; to be called when no transaction needs to know.
pub fn forget_lost() {
    LINKS.with(|links| {
        links
            .borrow_mut()
            .retain(|entry| entry.link.try_borrow().is_ok_and(|link| !link.session.is_lost()));
    });
}
