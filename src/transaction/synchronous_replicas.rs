//! Commits that wait for replicas (`helios.synchronous_replicas`).
//!
//! The wait takes place after the transaction has committed on its nodes and before the client gets its result: a
//! replica that does not confirm before the timeout causes a warning, and other commits do not wait for it until it is
//! in sync again. The primary's node is asked in the session that has committed there, which knows the WAL position of
//! its commit.
//!
//! If that node is lost in the meantime, it is unknown whether the transaction will survive the promotion of a replica.
//! That is an error if nothing has been committed here, and a warning if several servers were written, because the
//! decision has been made.

use super::link::Link;
use super::links;
use crate::catalog::{NodeId, Replica};
use crate::error::{Error, Result};
use crate::pg::error::notify;
use crate::pg::ipc::wait::{self, interrupt_pending, owe_latch, pay_latch};
use crate::pg::session::xact;
use crate::remote::Answer;
use crate::settings;
use crate::shared::replica_states;
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Additional time for the node's own response.
const GRACE: Duration = Duration::from_secs(2);

thread_local! {
    /// Replicas of the shards used by the transaction, with the nodes of their primaries.
    static EXPECTED: RefCell<Vec<(NodeId, Replica)>> = const { RefCell::new(Vec::new()) };
}

/// Records that the transaction uses a shard on this node with these replicas: if it writes there, its commit waits for
/// them.
pub fn expect(node: NodeId, replicas: &[Replica]) {
    EXPECTED.with_borrow_mut(|expected| {
        for replica in replicas {
            if !expected.iter().any(|(_, known)| known.migration == replica.migration) {
                expected.push((node, replica.clone()));
            }
        }
    });
}

/// Called if the transaction did not commit, or was left prepared.
pub fn forget() {
    EXPECTED.take();
}

/// Waits for replicas after the commit on a single node, while the local transaction, which has written nothing, can
/// still fail.
///
/// 08007 if the node is lost before it has confirmed.
pub fn before_commit() -> Result<()> {
    if EXPECTED.with_borrow(Vec::is_empty) || xact::wrote_here() {
        return Ok(());
    }
    for (replicas, missed) in wait_for_all() {
        match (missed, replicas.first()) {
            (Missed::Lost(error), Some(replica)) => return Err(unknown_outcome(replica, &error)),
            (missed, _) => replicas.iter().for_each(|replica| warn(replica, &missed)),
        }
    }
    Ok(())
}

/// Waits for replicas after a commit on several servers. Never raises an error.
pub fn after_commit() {
    for (replicas, missed) in wait_for_all() {
        replicas.iter().for_each(|replica| warn(replica, &missed));
    }
}

/// Returns the replicas that have not confirmed, with the reason.
fn wait_for_all() -> Vec<(Vec<Replica>, Missed)> {
    let expected = EXPECTED.take();
    if expected.is_empty() {
        return Vec::new();
    }
    let timeout =
        Duration::from_millis(u64::try_from(settings::REPLICA_TIMEOUT.get()).unwrap_or(0));
    owe_latch();
    let mut questions = Vec::new();
    for (node, replicas) in by_node(expected) {
        for link in links::all() {
            let Ok(mut one) = link.try_borrow_mut() else { continue };
            if one.id() != node || !std::mem::take(&mut one.wrote) {
                continue;
            }
            let asked = ask(&mut one, &replicas, timeout);
            drop(one);
            questions.push(Question { link: Rc::clone(&link), replicas: replicas.clone(), asked });
        }
    }
    let until = Instant::now() + timeout + GRACE;
    let missed = questions.into_iter().filter_map(|question| question.end(until)).collect();
    pay_latch();
    missed
}

/// Replicas that commits wait for, by the node of their primary.
fn by_node(expected: Vec<(NodeId, Replica)>) -> BTreeMap<NodeId, Vec<Replica>> {
    let mut all: BTreeMap<NodeId, Vec<Replica>> = BTreeMap::new();
    for (node, replica) in expected {
        let known = replica_states::of(replica.migration);
        if known.is_none_or(|state| state.degraded == 0) {
            all.entry(node).or_default().push(replica);
        }
    }
    all
}

/// The query to one node for its replicas.
struct Question {
    link: Rc<RefCell<Link>>,
    replicas: Vec<Replica>,
    asked: Result<()>,
}

/// Why replicas have not confirmed.
enum Missed {
    /// Timeout.
    Late(Vec<String>),
    /// The wait was canceled.
    Cancelled,
    /// The node raised an error.
    Failed(Error),
    /// The node was lost or does not respond.
    Lost(Error),
}

fn ask(link: &mut Link, replicas: &[Replica], timeout: Duration) -> Result<()> {
    if link.session.is_lost() || !link.session.is_at_rest() || link.session.status() != b'I' {
        return Err(Error::new(Code::ERRCODE_CONNECTION_FAILURE, "the session has ended"));
    }
    let slots: Vec<String> = replicas
        .iter()
        .flat_map(|replica| &replica.slots)
        .map(|slot| helios_core::quote::literal(slot))
        .collect();
    let sql = format!(
        "SELECT pg_catalog.unnest(helios.wait_for_replicas(ARRAY[{}]::pg_catalog.text[], {}))",
        slots.join(", "),
        timeout.as_millis()
    );
    link.session.start_query(&sql)
}

impl Question {
    /// Returns the replicas that have not confirmed.
    fn end(self, until: Instant) -> Option<(Vec<Replica>, Missed)> {
        let mut link = self.link.try_borrow_mut().ok()?;
        let missed = match self.asked.and_then(|()| answer(&mut link, until)) {
            Ok(missed) => missed?,
            Err(error) if link.session.is_lost() => Missed::Lost(error),
            Err(error) => Missed::Failed(error),
        };
        let mut late = self.replicas;
        if let Missed::Late(slots) = &missed {
            late.retain(|replica| replica.slots.iter().any(|slot| slots.contains(slot)));
        }
        Some((late, missed))
    }
}

/// Reads the response; None if all have confirmed.
fn answer(link: &mut Link, until: Instant) -> Result<Option<Missed>> {
    let mut answer = Answer::default();
    let mut cancelled = false;
    loop {
        match link.session.poll_query(&mut answer) {
            Ok(Some(rows)) => {
                let late: Vec<String> = rows.into_iter().flatten().flatten().collect();
                return Ok((!late.is_empty()).then_some(Missed::Late(late)));
            }
            Ok(None) => {}
            Err(_) if cancelled && !link.session.is_lost() => return Ok(Some(Missed::Cancelled)),
            Err(error) => return Err(error),
        }
        let now = Instant::now();
        if now >= until {
            link.session.give_up();
            return Err(Error::new(Code::ERRCODE_CONNECTION_FAILURE, "no response from the node"));
        }
        if !cancelled && interrupt_pending() {
            cancelled = true;
            link.session.request_cancel();
        }
        let socket = [link.session.socket()];
        wait::for_any(&socket, (until - now).min(Duration::from_millis(50)));
    }
}

fn warn(replica: &Replica, missed: &Missed) {
    let (detail, degrades) = match missed {
        Missed::Late(_) => {
            ("The replica did not confirm within helios.replica_timeout.".to_owned(), true)
        }
        Missed::Cancelled => ("The wait for the replica was canceled.".to_owned(), false),
        Missed::Failed(error) | Missed::Lost(error) => {
            (format!("Could not read the replica's position from its primary: {error}."), false)
        }
    };
    let is_new = degrades && replica_states::degrade(replica.migration);
    let more = match is_new {
        true => " Commits will not wait for this replica until it is in sync again.",
        false => "",
    };
    let warning = Error::new(
        Code::ERRCODE_WARNING,
        format!(
            "the transaction has been committed, but might not have been applied on the replica on node \"{}\"",
            replica.name
        ),
    )
    .detail(format!("{detail}{more}"))
    .hint("The view helios_replicas shows the state of the replicas.");
    notify(PgLogLevel::WARNING, &warning);
}

fn unknown_outcome(replica: &Replica, error: &Error) -> Error {
    Error::new(
        Code::ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN,
        format!(
            "the transaction was committed on a node that was lost before the replica on node \"{}\" confirmed it",
            replica.name
        ),
    )
    .detail(error.to_string())
    .hint("Check the data before running the transaction again: its changes may be missing if the replica is promoted.")
}
