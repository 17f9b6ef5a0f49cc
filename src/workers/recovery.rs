//! Runs the recovery of prepared transactions, and logs its results.

use super::log::log;
use crate::pg::error::notify;
use crate::pg::ipc::worker;
use crate::shared::worker_slots::{self, Work};
use crate::transaction::{self, RecoveryAction};
use pgrx::PgLogLevel;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Time limit for one node.
const NODE_TIME: Duration = Duration::from_secs(3);
/// Time limit for a run over all nodes.
const RUN_TIME: Duration = Duration::from_secs(4);

thread_local! {
    /// Nodes that have rejected this server because another one was promoted; logged once.
    static REFUSED: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// Finishes prepared transactions as far as possible now.
pub fn run(database: u32) {
    // Clear the flag first, so that a backend that sets it meanwhile is not missed.
    worker_slots::note(database, Work::Done);
    let outcome =
        worker::in_transaction(|| transaction::recover(NODE_TIME, Instant::now() + RUN_TIME, None));
    let recovered = match outcome {
        Ok(recovered) => recovered,
        Err(error) => {
            worker_slots::note(database, Work::Pending);
            return notify(PgLogLevel::LOG, &error);
        }
    };
    if recovered.unfinished {
        worker_slots::note(database, Work::Pending);
    }
    for (node, gid, action) in &recovered.finished {
        let done = match action {
            RecoveryAction::Committed => "committed",
            RecoveryAction::RolledBack => "rolled back",
        };
        log(format!("{done} unfinished prepared transaction \"{gid}\" on node \"{node}\""));
    }
    REFUSED.with_borrow_mut(|refused| {
        refused.retain(|node| recovered.failed.iter().any(|(failed, _, _)| failed == node));
    });
    for (node, gid, error) in &recovered.failed {
        let is_new = || REFUSED.with_borrow_mut(|refused| refused.insert(node.clone()));
        if transaction::is_refused(error) && !is_new() {
            continue;
        }
        let what = match gid {
            Some(gid) => format!("finish prepared transaction \"{gid}\""),
            None => "recover prepared transactions".to_owned(),
        };
        log(format!("could not {what} on node \"{node}\": {error}"));
    }
}
