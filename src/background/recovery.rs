//! A run of the recovery of prepared transactions, and what the log says about it.

use super::{NODE_TIME, RUN_TIME, log};
use crate::pg::error::notify;
use crate::pg::worker::{self, Work};
use crate::transaction;
use pgrx::PgLogLevel;
use std::time::Instant;

/// Finishes what is left behind, as far as that can be done now.
pub fn run(database: u32) {
    // Noted first: a backend that has something new says so again, and is not overheard.
    worker::note(database, Work::Done);
    let outcome =
        worker::in_transaction(|| transaction::recover(NODE_TIME, Instant::now() + RUN_TIME));
    let recovered = match outcome {
        Ok(recovered) => recovered,
        Err(error) => {
            worker::note(database, Work::Pending);
            return notify(PgLogLevel::LOG, &error);
        }
    };
    if recovered.unfinished {
        worker::note(database, Work::Pending);
    }
    for (names, what) in
        [(&recovered.committed, "committed"), (&recovered.rolled_back, "rolled back")]
    {
        for gid in names {
            log(format!("{what} prepared transaction \"{gid}\" that was left behind"));
        }
    }
    for (node, error) in &recovered.unreachable {
        log(format!("could not look after prepared transactions on node \"{node}\": {error}"));
    }
}
