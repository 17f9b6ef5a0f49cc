//! Recovery of interrupted two-phase commits: a backend, a node or this server stopped between the phases, or a
//! response was lost.
//!
//! The order of reads makes it safe against concurrent commits: prepared transactions (P), then local transactions in
//! progress (A), then commit records (T), then prepared transactions again (Q). A transaction in P was prepared before
//! A was read, so if its local transaction is not in A, it has ended, and T has its outcome. This follows the recovery
//! of Citus, whose commit records have the same meaning.

use super::gid;
use super::introduction::connect;
use crate::catalog::{self, Node};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::pg::session as local;
use crate::remote::Session;
use crate::shared::server_epoch;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Action taken on a prepared transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryAction {
    /// COMMIT PREPARED.
    Committed,
    /// ROLLBACK PREPARED.
    RolledBack,
}

/// Result of a recovery run.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Finished prepared transactions: node, name, action.
    pub finished: Vec<(String, String, RecoveryAction)>,
    /// Whether something is left for the next run.
    pub unfinished: bool,
    /// Failures: the node, the transaction's name if it concerns a single one, and the error.
    pub failed: Vec<(String, Option<String>, Error)>,
}

/// A prepared transaction in doubt.
#[derive(Debug)]
pub struct InDoubt {
    /// Name of the node.
    pub node: String,
    /// Name of the transaction.
    pub gid: String,
    /// `in progress`, `committed` or `aborted`: the state of its local transaction.
    pub state: &'static str,
    /// When it was prepared or, if the node cannot be reached, recorded: seconds since 1970.
    pub since: Option<f64>,
    /// Why the node cannot be reached.
    pub error: Option<String>,
}

/// Actions for the prepared transactions and records of one node.
#[derive(Debug, Default, PartialEq, Eq)]
struct Decision {
    commit: Vec<String>,
    roll_back: Vec<String>,
    forget: Vec<String>,
    wait: bool,
}

/// Commits only transactions in P, Q and T; rolls back only those in P − A without a record; a record whose transaction
/// is no longer prepared can be deleted.
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
    // Prepared after P was read; left to the next run.
    decision.wait |= q.iter().any(|gid| !p.contains(gid));
    decision
}

/// Recovers the prepared transactions of this database on every node, each for at most `per_node`, until `until`; if a
/// local transaction's ID is given, only its parts, and their records are left to the worker: COMMIT PREPARED has
/// taken effect by then, and deleting a record could still fail under SERIALIZABLE. Connects to nodes as the owner of the extension's catalogs.
pub fn recover(per_node: Duration, until: Instant, only: Option<u32>) -> Result<Recovered> {
    super::standby::refuse()?;
    let mut result = Recovered::default();
    let mut nodes = catalog::remote_nodes()?;
    if !nodes.is_empty() {
        // If time is short, a different node comes first in each run.
        let turn = local::seconds_since_start() as usize % nodes.len();
        nodes.rotate_left(turn);
    }
    for node in nodes {
        if Instant::now() >= until {
            result.unfinished = true;
            break;
        }
        if let Err(error) = recover_node(&node, per_node, only, &mut result) {
            result.unfinished = true;
            result.failed.push((node.name.clone(), None, error));
        }
    }
    Ok(result)
}

fn recover_node(
    node: &Rc<Node>,
    limit: Duration,
    only: Option<u32>,
    result: &mut Recovered,
) -> Result<()> {
    failpoint::hit(failpoint::RECOVERY_BEFORE)?;
    let mut session = connect(node, limit)?;
    let cluster = catalog::cluster_id()?;
    let concerned = |gid: &String| is_concerned(gid, cluster, only);
    let p = prepared(&mut session, &concerned)?;
    failpoint::hit(failpoint::RECOVERY_LISTED)?;
    let still_running: BTreeSet<&str> =
        p.iter().map(String::as_str).filter(|gid| is_running(gid, cluster)).collect();
    let mut t = records(node)?;
    t.retain(|gid| only.is_none() || concerned(gid));
    if p.is_empty() && t.is_empty() {
        return Ok(());
    }
    let q = prepared(&mut session, &concerned)?;
    let decision = decide(&p, |gid| still_running.contains(gid), &t, &q);
    result.unfinished |= decision.wait;
    let mut forget = decision.forget;
    let commit = decision.commit.into_iter().map(|gid| (gid, RecoveryAction::Committed));
    let roll_back = decision.roll_back.into_iter().map(|gid| (gid, RecoveryAction::RolledBack));
    for (gid, action) in commit.chain(roll_back) {
        match finish(&mut session, action, &gid) {
            Ok(()) if action == RecoveryAction::Committed => {
                forget.push(gid.clone());
                result.finished.push((node.name.clone(), gid, action));
            }
            Ok(()) => result.finished.push((node.name.clone(), gid, action)),
            // Another session is finishing it right now, or it cannot be finished; continue with the others.
            Err(error) if !session.is_lost() => {
                result.unfinished = true;
                result.failed.push((node.name.clone(), Some(gid), error));
            }
            Err(error) => return Err(error),
        }
    }
    if only.is_none() && !forget.is_empty() {
        failpoint::hit(failpoint::RECOVERY_FORGET_BEFORE)?;
        // What was skipped is left to the next run, because the other session may roll back.
        result.unfinished |= !catalog::transaction::forget_unlocked(node.id, &forget)?;
        failpoint::hit(failpoint::RECOVERY_FORGET_AFTER)?;
    }
    Ok(())
}

/// Whether a prepared transaction belongs to this database (and to the local transaction, if one is given). A
/// transaction of a later start of the coordinator is not ours: another server has been promoted and will handle it.
fn is_concerned(name: &str, cluster: i64, only: Option<u32>) -> bool {
    gid::part(name, cluster, local::database_id()).is_some_and(|(epoch, xid)| {
        epoch <= server_epoch::epoch() && only.is_none_or(|only| only == xid)
    })
}

/// Whether its local transaction is in progress, or itself prepared.
fn is_running(name: &str, cluster: i64) -> bool {
    gid::part(name, cluster, local::database_id())
        .is_none_or(|(_, xid)| local::transaction_ids::is_running(xid))
}

/// Prepared transactions on a node that concern us.
fn prepared(
    session: &mut Session,
    concerned: &impl Fn(&String) -> bool,
) -> Result<BTreeSet<String>> {
    let rows = session.query(
        "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database()",
    )?;
    Ok(rows.into_iter().flatten().flatten().filter(concerned).collect())
}

/// Prepared transactions on the nodes now, or when they were last reachable. Changes nothing.
pub fn in_doubt(per_node: Duration) -> Result<Vec<InDoubt>> {
    let mut found = Vec::new();
    for node in catalog::remote_nodes()? {
        match in_doubt_on(&node, per_node) {
            Ok(some) => found.extend(some),
            Err(error) => {
                let recorded = catalog::transaction::records(&node)?.into_iter();
                found.extend(recorded.map(|record| InDoubt {
                    node: node.name.clone(),
                    gid: record.gid,
                    state: "committed",
                    since: Some(record.since),
                    error: Some(error.to_string()),
                }));
            }
        }
    }
    Ok(found)
}

fn in_doubt_on(node: &Node, limit: Duration) -> Result<Vec<InDoubt>> {
    let mut session = connect(node, limit)?;
    let cluster = catalog::cluster_id()?;
    let rows = session.query(
        "SELECT gid, pg_catalog.date_part('epoch', prepared) AS since FROM pg_catalog.pg_prepared_xacts
          WHERE database = pg_catalog.current_database()",
    )?;
    let mut found = Vec::new();
    for row in rows {
        let gid = row.text("gid")?;
        if !is_concerned(&gid, cluster, None) {
            continue;
        }
        // In this order: a transaction that has ended before the records are read has its record if it committed.
        let running = is_running(&gid, cluster);
        let state = match (running, records(node)?.contains(&gid)) {
            (true, _) => "in progress",
            (false, true) => "committed",
            (false, false) => "aborted",
        };
        let since = row.parsed("since")?;
        found.push(InDoubt { node: node.name.clone(), gid, state, since, error: None });
    }
    Ok(found)
}

/// Committed records for a node, regardless of this transaction's snapshot.
fn records(node: &Node) -> Result<BTreeSet<String>> {
    let records = catalog::transaction::records(node)?;
    Ok(records.into_iter().map(|record| record.gid).collect())
}

/// Finishes one; not an error if that has been done concurrently.
fn finish(session: &mut Session, action: RecoveryAction, gid: &str) -> Result<()> {
    let (verb, before, after) = match action {
        RecoveryAction::Committed => {
            ("COMMIT", failpoint::RECOVERY_COMMIT_BEFORE, failpoint::RECOVERY_COMMIT_AFTER)
        }
        RecoveryAction::RolledBack => {
            ("ROLLBACK", failpoint::RECOVERY_ROLLBACK_BEFORE, failpoint::RECOVERY_ROLLBACK_AFTER)
        }
    };
    failpoint::hit(before)?;
    match session.query(&format!("{verb} PREPARED '{gid}'")) {
        Err(error) if error.is(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT) => {}
        result => {
            result?;
        }
    }
    failpoint::hit(after)
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
