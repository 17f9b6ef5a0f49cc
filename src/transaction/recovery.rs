//! Finishing what two-phase commits left behind: a backend, a node or this server stopped between the phases, or a
//! reply was lost.
//!
//! The order of looking makes it safe against commits under way: prepared transactions (P), then which local
//! transactions are still running (A), then commit records (T), then prepared transactions again (Q). What is in P
//! was prepared before A was looked at, so if its local transaction is not running any more, it has ended, and T says
//! how. Source: the recovery of Citus, whose commit records mean the same.

use super::registry::{refuse_silent, target};
use super::two_phase::parse_gid;
use crate::directory::{self, Node};
use crate::error::{Error, Result};
use crate::pg::{catalog, privileges, session as local, transaction_records};
use crate::remote::Session;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What a run came to.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Names of prepared transactions that were committed.
    pub committed: Vec<String>,
    /// Names of prepared transactions that were rolled back.
    pub rolled_back: Vec<String>,
    /// Commit records that were not needed any more.
    pub removed: usize,
    /// Whether something is left for the next run.
    pub unfinished: bool,
    /// Nodes that could not be asked, and why.
    pub unreachable: Vec<(String, Error)>,
}

/// What to do with the prepared transactions and records of one node.
#[derive(Debug, Default, PartialEq, Eq)]
struct Decision {
    commit: Vec<String>,
    roll_back: Vec<String>,
    forget: Vec<String>,
    wait: bool,
}

/// Commits only what is in P, Q and T; rolls back only P − A without a record; a record whose transaction is not
/// prepared any more is done.
fn decide(
    p: &BTreeSet<String>,
    running: impl Fn(&str) -> bool,
    t: &BTreeSet<String>,
    q: &BTreeSet<String>,
) -> Decision {
    let mut decision = Decision::default();
    for gid in p {
        if running(gid) {
            decision.wait = true;
        } else if t.contains(gid) {
            if q.contains(gid) {
                decision.commit.push(gid.clone());
            }
        } else {
            decision.roll_back.push(gid.clone());
        }
    }
    decision.forget = t.iter().filter(|gid| !q.contains(*gid)).cloned().collect();
    // Prepared after P was listed: the next run's business.
    decision.wait |= q.iter().any(|gid| !p.contains(gid));
    decision
}

/// Looks after the prepared transactions of this database on every node, each for at most `per_node`, until `until`.
/// Must run in a transaction of its own; connects to nodes as the owner of the extension's catalogs.
pub fn recover(per_node: Duration, until: Instant) -> Result<Recovered> {
    let mut result = Recovered::default();
    let mut nodes = directory::remote_nodes()?;
    if !nodes.is_empty() {
        // When there is not time for all, each gets its turn to be first.
        let turn = local::seconds_since_start() as usize % nodes.len();
        nodes.rotate_left(turn);
    }
    for node in nodes {
        if Instant::now() >= until {
            result.unfinished = true;
            break;
        }
        if let Err(error) = recover_node(&node, per_node, &mut result) {
            result.unfinished = true;
            result.unreachable.push((node.name.clone(), error));
        }
    }
    Ok(result)
}

fn recover_node(node: &Rc<Node>, limit: Duration, result: &mut Recovered) -> Result<()> {
    refuse_silent(node)?;
    let role = privileges::role_name(directory::catalogs_owner()?);
    let mut target = target(node, &role)?;
    target.connect_timeout = target.connect_timeout.min(limit);
    let mut session = Session::connect(&Rc::new(target), &role)?;
    session.set_time_limit(Some(Instant::now() + limit));
    let cluster = directory::cluster_id()?;
    let p = prepared(&mut session, cluster)?;
    let still_running: BTreeSet<&str> = p
        .iter()
        .map(String::as_str)
        .filter(|gid| {
            parse_gid(gid, cluster)
                .is_none_or(|(_, epoch, xid)| transaction_records::is_running(epoch, xid))
        })
        .collect();
    let t = records(node)?;
    if p.is_empty() && t.is_empty() {
        return Ok(());
    }
    let q = prepared(&mut session, cluster)?;
    let decision = decide(&p, |gid| still_running.contains(gid), &t, &q);
    result.unfinished |= decision.wait;
    let mut forget = decision.forget;
    for gid in decision.commit {
        finish(&mut session, "COMMIT", &gid)?;
        forget.push(gid.clone());
        result.committed.push(gid);
    }
    for gid in decision.roll_back {
        finish(&mut session, "ROLLBACK", &gid)?;
        result.rolled_back.push(gid);
    }
    if !forget.is_empty() {
        result.removed += forget.len();
        directory::forget_transactions(node.id, &forget)?;
    }
    Ok(())
}

/// Prepared transactions of this cluster and database on a node.
fn prepared(session: &mut Session, cluster: i64) -> Result<BTreeSet<String>> {
    let rows = session.query(
        "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database()",
    )?;
    let ours = |gid: &String| {
        parse_gid(gid, cluster).is_some_and(|(database, _, _)| database == local::database_id())
    };
    Ok(rows.into_iter().flatten().flatten().filter(ours).collect())
}

/// Committed records for a node, whatever this transaction's snapshot shows.
fn records(node: &Node) -> Result<BTreeSet<String>> {
    let table = catalog::relation("helios", "transaction").ok_or_else(|| {
        Error::new(PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE, "helios.transaction does not exist")
    })?;
    let rows = catalog::scan(table, pgrx::pg_sys::InvalidOid, &[], |row| {
        (row.get::<i32>(2) == Some(node.id.0)).then(|| row.get::<String>(1)).flatten()
    });
    Ok(rows.into_iter().flatten().collect())
}

/// Someone else may have finished it in the meantime.
fn finish(session: &mut Session, verb: &str, gid: &str) -> Result<()> {
    match session.query(&format!("{verb} PREPARED '{gid}'")) {
        Err(error) if error.is(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT) => Ok(()),
        result => result.map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(gids: &[&str]) -> BTreeSet<String> {
        gids.iter().map(|g| (*g).to_owned()).collect()
    }

    #[test]
    fn commits_only_with_a_record_and_rolls_back_only_without() {
        let p = set(&["committed", "aborted", "running", "gone"]);
        let t = set(&["committed", "gone", "done"]);
        let q = set(&["committed", "aborted", "running"]);
        let d = decide(&p, |gid| gid == "running", &t, &q);
        assert_eq!(d.commit, ["committed"]);
        assert_eq!(d.roll_back, ["aborted"]);
        assert_eq!(d.forget, ["done", "gone"]);
        assert!(d.wait);
    }

    #[test]
    fn what_is_prepared_while_looking_is_left_alone() {
        let q = set(&["new"]);
        let d = decide(&set(&[]), |_| false, &set(&["new"]), &q);
        assert_eq!(d, Decision { wait: true, ..Decision::default() });
    }
}
