//! Background workers: a launcher for the server, and for each database that has something to do a worker that
//! does it and ends.
//!
//! Invariant: a worker is connected to its database for a few seconds at most, so that DROP DATABASE, which waits
//! five seconds for others to leave, never has to be told about us. Whatever a worker does can be stopped at any
//! point and done again.
//!
//! Lock order: none of our own; rows of `helios.transaction` are deleted after their transactions are finished.

use crate::directory;
use crate::pg::worker::{self, Main, Running, Work};
use crate::pg::{catalog, error::notify};
use crate::settings;
use crate::transaction::{self, Deed};
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::time::{Duration, Instant};

/// Time for one node, and for the whole run of a worker.
const NODE_TIME: Duration = Duration::from_secs(3);
const RUN_TIME: Duration = Duration::from_secs(4);
/// Every database is looked at when the server starts, and again after this time, in case nobody could say that
/// it has something to do.
const ROUND: Duration = Duration::from_secs(600);

/// Workers that run at a time: the server has slots for eight by default, and others want some.
const MOST: usize = 3;

/// Registers the workers. Called once, from `_PG_init`.
pub fn install() {
    worker::set_main(Main { launcher, worker: run });
    worker::install();
}

fn launcher() {
    let mut running: Vec<(u32, Running)> = Vec::new();
    let mut last_round: Option<Instant> = None;
    loop {
        running.retain(|(_, worker)| worker.is_alive());
        let mut due = worker::pending();
        if last_round.is_none_or(|last| last.elapsed() >= ROUND) {
            last_round = Some(Instant::now());
            due = worker::in_transaction(catalog::databases);
        }
        let mut waiting = false;
        for database in due {
            if running.iter().any(|(d, _)| *d == database) {
                continue;
            }
            let free = running.len() < MOST;
            match if free { Running::start(database) } else { None } {
                Some(worker) => running.push((database, worker)),
                // No slot now: the database must not be forgotten.
                None => worker::note(database, Work::Pending),
            }
            waiting |= !free;
        }
        // Woken by every worker that ends: that is no reason to start it again at once.
        let interval = u64::try_from(settings::RECOVERY_INTERVAL.get()).unwrap_or(5000);
        let next = Instant::now() + Duration::from_millis(interval);
        while Instant::now() < next {
            worker::rest(next - Instant::now());
            if waiting && running.iter().any(|(_, worker)| !worker.is_alive()) {
                break; // its place is free
            }
        }
    }
}

fn run(database: u32) {
    // Noted first: a backend that has something new says so again, and is not overheard.
    worker::note(database, Work::Done);
    let outcome = worker::in_transaction(|| {
        if !directory::in_use() {
            return Ok(None);
        }
        transaction::recover(NODE_TIME, Instant::now() + RUN_TIME, None).map(Some)
    });
    let recovered = match outcome {
        Ok(None) => return,
        Ok(Some(recovered)) => recovered,
        Err(error) => {
            worker::note(database, Work::Pending);
            return notify(PgLogLevel::LOG, &error);
        }
    };
    if recovered.unfinished {
        worker::note(database, Work::Pending);
    }
    for (node, gid, deed) in &recovered.finished {
        let done = match deed {
            Deed::Committed => "committed",
            Deed::RolledBack => "rolled back",
        };
        log(format!(
            "{done} prepared transaction \"{gid}\" that was left behind on node \"{node}\""
        ));
    }
    for (node, gid, error) in &recovered.failed {
        log(match gid {
            Some(gid) => {
                format!(
                    "could not finish prepared transaction \"{gid}\" on node \"{node}\": {error}"
                )
            }
            None => {
                format!("could not look after prepared transactions on node \"{node}\": {error}")
            }
        });
    }
}

fn log(message: String) {
    let line = crate::error::Error::new(PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message);
    notify(PgLogLevel::LOG, &line);
}
