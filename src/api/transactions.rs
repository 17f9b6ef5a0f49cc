//! Distributed transactions: listing and finishing those in doubt, and the outcome of one.

use crate::pg::error::OrRaise;
use crate::transaction::{self, RecoveryAction};
use pgrx::prelude::*;
use std::time::{Duration, Instant};

/// Time limits for one node, and for all.
const NODE_TIME: Duration = Duration::from_secs(10);
const RUN_TIME: Duration = Duration::from_secs(60);

type Doubts = TableIterator<
    'static,
    (
        name!(gid, String),
        name!(node, String),
        name!(state, String),
        name!(since, Option<f64>),
        name!(error, Option<String>),
    ),
>;

/// Prepared transactions on the nodes.
#[pg_extern(sql = false)]
fn helios_in_doubt() -> Doubts {
    let found = transaction::in_doubt(NODE_TIME).or_raise();
    TableIterator::new(
        found.into_iter().map(|d| (d.gid, d.node, d.state.to_owned(), d.since, d.error)),
    )
}

type RecoveryActions = TableIterator<
    'static,
    (
        name!(node, String),
        name!(gid, Option<String>),
        name!(action, String),
        name!(error, Option<String>),
    ),
>;

/// Finishes transactions in doubt, as the recovery worker does; returns successes and failures.
#[pg_extern(sql = false)]
fn helios_recover_transactions() -> RecoveryActions {
    let recovered = transaction::recover(NODE_TIME, Instant::now() + RUN_TIME, None).or_raise();
    let done = recovered.finished.into_iter().map(|(node, gid, action)| {
        let action = match action {
            RecoveryAction::Committed => "committed",
            RecoveryAction::RolledBack => "rolled back",
        };
        (node, Some(gid), action.to_owned(), None)
    });
    let failed = recovered.failed.into_iter();
    let failed =
        failed.map(|(node, gid, error)| (node, gid, "failed".to_owned(), Some(error.to_string())));
    TableIterator::new(done.chain(failed).collect::<Vec<_>>())
}

/// The outcome of a transaction.
#[pg_extern(sql = false)]
fn helios_transaction_status(gid: &str) -> String {
    transaction::status(gid).or_raise().name().to_owned()
}
