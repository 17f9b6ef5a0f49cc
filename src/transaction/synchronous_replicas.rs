//! A commit that waits for copies (`helios.synchronous_replicas`).
//!
//! It waits after the transaction has committed on its nodes and before the client hears of it: what has not confirmed
//! when the time is over gives a warning, and is not waited for by others until it is in step again. The node of the
//! primary is asked in the very session that has committed there, which knows the end of its commit in the log.
//!
//! If that node is lost meanwhile, nobody knows whether the transaction will be there when a copy takes over. That is an
//! error as long as nothing has been committed here, and a warning where several servers were written: these have decided
//! already.

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

/// How much later than the copies the node itself may answer.
const GRACE: Duration = Duration::from_secs(2);

thread_local! {
    /// Copies of what the transaction has used, with the nodes that they follow.
    static EXPECTED: RefCell<Vec<(NodeId, Replica)>> = const { RefCell::new(Vec::new()) };
}

/// The transaction uses something on this node that has these copies: if it writes there, its commit waits for them.
pub fn expect(node: NodeId, replicas: &[Replica]) {
    EXPECTED.with_borrow_mut(|expected| {
        for replica in replicas {
            if !expected.iter().any(|(_, known)| known.migration == replica.migration) {
                expected.push((node, replica.clone()));
            }
        }
    });
}

/// The transaction did not commit, or was left prepared.
pub fn forget() {
    EXPECTED.take();
}

/// Waits for the copies of what one node alone has committed, while the transaction here can still fail: it has written
/// nothing.
///
/// 08007 if the node is lost before it has said that they have it.
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

/// Waits for the copies of what several servers have committed. Never raises an error.
pub fn after_commit() {
    for (replicas, missed) in wait_for_all() {
        replicas.iter().for_each(|replica| warn(replica, &missed));
    }
}

/// The copies that have not confirmed, and why.
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

/// Copies that commits wait for, by the node that they follow.
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

/// One node is asked for the copies that follow it.
struct Question {
    link: Rc<RefCell<Link>>,
    replicas: Vec<Replica>,
    asked: Result<()>,
}

/// Why copies have not confirmed.
enum Missed {
    /// The time is over.
    Late(Vec<String>),
    /// Somebody did not want to wait.
    Cancelled,
    /// The node could not say.
    Failed(Error),
    /// The node is gone, or does not answer.
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
    /// Those that have not confirmed.
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

/// Reads the answer; None if all have confirmed.
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
