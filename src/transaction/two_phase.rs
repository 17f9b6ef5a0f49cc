//! Two-phase commit: PREPARE TRANSACTION on each node that was written, a commit record here in the same local
//! transaction, COMMIT PREPARED after that has committed. A record means commit, no record means abort; the recovery
//! worker finishes transactions left prepared.

use super::end::{end_release, read_end, rolled_back, send_end, send_release};
use super::gid::Gid;
use super::link::Link;
use super::links::Links;
use crate::catalog;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::pg::error::notify;
use crate::pg::ipc::wait::explain_cancel;
use crate::pg::session as local;
use crate::pg::session::xact;
use crate::remote::{WaitPolicy, messages};
use crate::shared::server_epoch;
use crate::shared::worker_slots::{self, Work};
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Time limit for a node to finish a prepared transaction before that is left to the recovery worker.
const FINISH_TIME: Duration = Duration::from_secs(10);

/// Phase one, on all nodes in parallel, then the commit records. Read-only nodes commit meanwhile.
pub fn prepare(writers: &[Rc<RefCell<Link>>], readers: &Links) -> Result<()> {
    failpoint::hit(failpoint::PREPARE_BEFORE)?;
    // Recorded before anything is prepared, because this process may die at any time.
    worker_slots::note(local::database_id(), Work::Pending);
    let records = send_prepare(writers)?;
    send_release(readers)?;
    failpoint::hit(failpoint::PREPARE_SENT)?;
    let mut failed = None;
    for link in writers {
        if let Err(error) = prepared(&mut *super::execution::borrow(link)?, WaitPolicy::Commit) {
            failed.get_or_insert(error);
        }
    }
    if let Err(error) = end_release(readers, WaitPolicy::Commit) {
        failed.get_or_insert(error);
    }
    if let Some(error) = failed {
        // Nothing is committed, so the client's cancel request takes effect, whether or not the node responds in time.
        let stopped = error.is(PgSqlErrorCode::ERRCODE_QUERY_CANCELED) || error.is_class("08");
        return Err(if stopped { explain_cancel(error) } else { error });
    }
    failpoint::hit(failpoint::PREPARE_AFTER)?;
    catalog::transaction::insert(&records)?;
    xact::force_durable_commit();
    failpoint::hit(failpoint::RECORD_AFTER)
}

/// Sends PREPARE TRANSACTION to each writer; returns the transaction names and nodes.
fn send_prepare(writers: &[Rc<RefCell<Link>>]) -> Result<Vec<(String, i32)>> {
    let (epoch, xid) = (server_epoch::epoch(), xact::id());
    let (database, cluster) = (local::database_id(), catalog::cluster_id()?);
    let mut records = Vec::with_capacity(writers.len());
    for (n, link) in (1..).zip(writers) {
        if n > 1 {
            failpoint::hit(failpoint::PREPARE_NEXT)?;
        }
        let mut link = super::execution::borrow(link)?;
        let gid = Gid::Part { database, epoch, xid, n }.name(cluster);
        send_end(&mut link, format!("PREPARE TRANSACTION '{gid}'").as_bytes())?;
        // From here on the transaction may be left prepared on the node.
        link.prepared = Some(gid.clone());
        link.session.flush(WaitPolicy::Commit)?;
        records.push((gid, link.node.id.0));
    }
    Ok(records)
}

/// Reads the response to PREPARE TRANSACTION. Without one, the name stays recorded: it may be prepared.
pub fn prepared(link: &mut Link, policy: WaitPolicy) -> Result<()> {
    let answer = read_end(link, policy);
    if link.session.is_lost() {
        link.ended(false);
        return answer.map(|_| ());
    }
    let refused = match answer {
        Ok(tag) if tag == "PREPARE TRANSACTION" => None,
        Ok(_) => Some(rolled_back(link, "preparing")),
        Err(error) => Some(error),
    };
    let is_over = link.session.status() == b'I';
    if refused.is_some() {
        link.prepared = None;
    }
    if is_over {
        link.ended(refused.is_none());
    }
    refused.map_or(Ok(()), Err)
}

/// Called after a user's PREPARE TRANSACTION: the nodes' parts stay prepared until it is finished.
pub fn leave_prepared(links: &Links) {
    for link in links {
        if let Ok(mut link) = link.try_borrow_mut() {
            link.prepared = None;
        }
    }
}

/// Phase two after the local commit, on all nodes in parallel. What cannot be finished is left to recovery.
pub fn commit_prepared(links: &Links) -> Result<()> {
    let is_prepared =
        |link: &&Rc<RefCell<Link>>| link.try_borrow().is_ok_and(|l| l.prepared.is_some());
    let waiting: Links = links.iter().filter(is_prepared).cloned().collect();
    if waiting.is_empty() {
        return Ok(());
    }
    // Note this for the worker, which may have looked before there were any records.
    worker_slots::note(local::database_id(), Work::Pending);
    failpoint::hit(failpoint::COMMIT_PREPARED_BEFORE)?;
    let deadline = WaitPolicy::Until(Instant::now() + FINISH_TIME);
    let mut sent = Vec::with_capacity(waiting.len());
    for (n, link) in waiting.iter().enumerate() {
        if n > 0 {
            failpoint::hit(failpoint::COMMIT_PREPARED_NEXT)?;
        }
        let mut link = super::execution::borrow(link)?;
        let gid = link.prepared.take().unwrap_or_default();
        let outcome = send_finish(&mut link, "COMMIT", &gid, deadline);
        sent.push((gid, outcome));
    }
    failpoint::hit(failpoint::COMMIT_PREPARED_SENT)?;
    for (link, (gid, outcome)) in waiting.iter().zip(sent) {
        let mut link = super::execution::borrow(link)?;
        let outcome = outcome.and_then(|()| read_end(&mut link, deadline));
        if let Err(cause) = outcome {
            give_up_unless_ready(&mut link);
            left_behind(&link, &gid, "commit", &cause);
        }
    }
    failpoint::hit(failpoint::COMMIT_PREPARED_AFTER)
}

/// After an error in [`commit_prepared`]: closes sessions with an outstanding request, and leaves what is still
/// prepared to the recovery worker.
pub fn leave_to_recovery(links: &Links) {
    for link in links {
        if let Ok(mut link) = link.try_borrow_mut() {
            give_up_unless_ready(&mut link);
            link.prepared = None;
        }
    }
}

/// After a local rollback: rolls back a transaction that this session has left prepared.
pub fn roll_back_prepared(link: &mut Link) {
    let Some(gid) = link.prepared.take() else { return };
    let deadline = WaitPolicy::Until(Instant::now() + FINISH_TIME);
    let outcome = failpoint::hit(failpoint::ROLLBACK_PREPARED_BEFORE)
        .and_then(|()| send_finish(link, "ROLLBACK", &gid, deadline))
        .and_then(|()| read_end(link, deadline))
        .and_then(|_| failpoint::hit(failpoint::ROLLBACK_PREPARED_AFTER));
    match outcome {
        Ok(_) => {}
        // It was never prepared.
        Err(cause) if cause.is(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT) => {}
        Err(cause) => {
            give_up_unless_ready(link);
            left_behind(link, &gid, "roll back", &cause);
        }
    }
}

fn send_finish(link: &mut Link, verb: &str, gid: &str, policy: WaitPolicy) -> Result<()> {
    if link.session.is_lost() {
        return Err(super::links::lost_earlier(link));
    }
    let sql = format!("{verb} PREPARED '{gid}'");
    messages::command(link.session.output(), sql.as_bytes())?;
    link.session.sync();
    link.session.flush(policy)
}

fn give_up_unless_ready(link: &mut Link) {
    if link.session.is_busy() {
        link.session.give_up();
    }
}

fn left_behind(link: &Link, gid: &str, verb: &str, cause: &Error) {
    worker_slots::note(local::database_id(), Work::Pending);
    let warning = Error::new(
        PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE,
        format!("could not {verb} prepared transaction \"{gid}\" on node \"{}\"", link.node.name),
    )
    .detail(cause.to_string())
    .hint("The recovery worker will retry when the node is available again.");
    notify(PgLogLevel::WARNING, &warning);
}
