//! Roles are global to a cluster: their attributes, passwords, memberships, settings and comments, and the privileges
//! on the database and on parameters. The coordinator is authoritative. Commands that define roles are executed on
//! every node (`ddl::propagate`); changes made from another database, or while a node was down, are synchronized here.
//!
//! Invariant: a node is only changed to match the coordinator's current state, whose catalogs are locked against
//! changes meanwhile. Roles that exist only on a node are reported, not dropped.
//! Lock order: the cluster's lock (shared), then the catalogs of roles, then the node's own locks.

pub mod facts;
pub mod repair;

use crate::catalog::{self, Node};
use crate::error::{Error, Result};
use crate::pg::catalog::privileges;
use crate::pg::session::sql;
use crate::remote::{Record, Session, own_rows};
use crate::transaction;
use facts::{Fact, Known};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::{Duration, Instant};

pub use repair::Difference;

/// Limits the time for which commands that change roles may have to queue behind this.
const LOCK_WAIT: &str = "SET LOCAL lock_timeout = '300ms'";
const LOCK: &str = "LOCK TABLE pg_catalog.pg_authid, pg_catalog.pg_auth_members, pg_catalog.pg_db_role_setting IN SHARE MODE";
/// Keeps passwords out of the node's log and statistics.
const SILENT: &str = "SET track_activities = off; SET log_statement = none; SET log_duration = off; \
     SET log_min_duration_statement = -1; SET log_min_error_statement = panic; SET lock_timeout = '2s'";

/// Outcome of synchronizing a node.
#[derive(Default)]
pub struct Step {
    /// Descriptions of the changes made.
    pub done: Vec<String>,
    /// Descriptions of the changes that failed.
    pub failed: Vec<String>,
}

/// A digest that changes whenever roles change on this server.
pub fn digest() -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    here()?.facts.hash(&mut hasher);
    Ok(hasher.finish())
}

/// Copies the roles of this server to a node that is about to join, in a session of the client's user. That user is
/// connected to the node, so its attributes and password are left alone. Concurrent changes from another database are
/// synchronized later.
///
/// Errors: 42501 unless the user is a superuser, because passwords are copied.
pub fn bring_all(node: &Node, session: &mut Session) -> Result<()> {
    if !privileges::is_superuser() {
        return Err(Error::new(
            Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "must be superuser to copy the roles of this server to a node",
        )
        .detail("The roles' passwords are copied, too."));
    }
    let user = privileges::session_user();
    session.query(SILENT)?;
    for difference in compare(&here()?, &there(session)?) {
        let statements = difference.repair(node);
        if statements.is_empty() || difference.is_about_login(&user) {
            continue;
        }
        session.query(&statements.join("; ")).map_err(|e| e.context(difference.detail()))?;
    }
    session.query("RESET ALL").map(drop)
}

/// Compares a node's roles with those of this server without changing anything.
pub fn differences(node: &Node) -> Result<Vec<Difference>> {
    let here = here()?;
    Ok(compare(&here, &there(&mut connect(node, None)?)?))
}

/// Synchronizes a node's roles with those of this server.
pub fn bring_into_step(node: &Node, time: Duration) -> Result<Step> {
    let mut session = connect(node, Some(Instant::now() + time))?;
    let first = compare(&here()?, &there(&mut session)?);
    if first.iter().all(|difference| difference.repair(node).is_empty()) {
        return Ok(Step::default());
    }
    catalog::lock_cluster_shared();
    sql::run(LOCK_WAIT, &[])?;
    sql::run(LOCK, &[])?;
    session.query(SILENT)?;
    let mut step = Step::default();
    for difference in compare(&here()?, &there(&mut session)?) {
        let statements = difference.repair(node);
        if statements.is_empty() {
            continue;
        }
        // One message and one transaction for each difference: a statement that the node cannot execute must not keep
        // privileges from being revoked.
        match session.query(&statements.join("; ")) {
            Ok(_) => step.done.push(difference.detail()),
            Err(error) if session.is_lost() => return Err(error),
            Err(error) => step.failed.push(format!("{}: {error}", difference.detail())),
        }
    }
    Ok(step)
}

fn here() -> Result<Known> {
    let own = privileges::role_name(catalog::catalogs_owner()?);
    // Not the transaction's snapshot, which may be older than the lock.
    known(&catalog::as_owner(|| own_rows(&facts::query()))?, &own)
}

fn there(session: &mut Session) -> Result<Known> {
    let own = privileges::role_name(catalog::catalogs_owner()?);
    known(&session.query(&facts::query())?, &own)
}

fn known(rows: &[Record], own: &str) -> Result<Known> {
    let facts = rows.iter().map(Fact::read).collect::<Result<Vec<_>>>()?;
    Ok(Known::new(facts.into_iter().flatten(), own))
}

/// Connects as the owner of the catalogs, who may read passwords.
fn connect(node: &Node, until: Option<Instant>) -> Result<Session> {
    transaction::refuse_silent(node)?;
    let role = privileges::role_name(catalog::catalogs_owner()?);
    let mut target = transaction::target(node, &role)?;
    if let Some(until) = until {
        let left = until.saturating_duration_since(Instant::now());
        target.connect_timeout = target.connect_timeout.min(left);
    }
    let mut session = Session::connect(&Rc::new(target), &role)?;
    session.set_time_limit(until);
    session.query("SET search_path = pg_catalog")?;
    Ok(session)
}

/// Facts that are missing or different on the node, or exist only there; privileges to be revoked come first.
fn compare(here: &Known, there: &Known) -> Vec<Difference> {
    let mut all: Vec<Difference> = Vec::new();
    let mut alone = BTreeSet::new();
    for fact in &there.facts {
        match here.find(fact) {
            Some(wanted) if wanted.value == fact.value => {}
            Some(wanted) => {
                all.push(Difference::Other { here: wanted.clone(), there: fact.clone() })
            }
            None => match fact.roles().find(|role| !here.has_role(role)) {
                Some(role) => {
                    alone.insert(role.to_owned());
                }
                None => all.push(Difference::Extra(fact.clone())),
            },
        }
    }
    all.extend(alone.into_iter().map(Difference::Alone));
    let missing = here.facts.iter().filter(|fact| there.find(fact).is_none());
    // Roles before the facts about them.
    let (roles, rest): (Vec<&Fact>, Vec<&Fact>) = missing.partition(|fact| fact.is_role());
    all.extend(roles.into_iter().chain(rest).cloned().map(Difference::Missing));
    all
}
