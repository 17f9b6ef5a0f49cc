//! Background workers: a launcher for the server, and a worker for each database that has nodes or unfinished work. The
//! worker recovers prepared transactions, monitors the nodes, detects distributed deadlocks, starts the workers of
//! migrations, balances the nodes, and synchronizes their roles. Read [`launcher`] and [`run`] first.
//!
//! Invariant: a worker can be stopped at any time, and its work repeated. It disconnects from its database when a
//! command is about to run that requires that no session is connected to it (DROP DATABASE, …).
//!
//! Lock order: takes no locks itself; rows of `helios.transaction` are deleted after their transactions are finished.

pub mod balance;
pub mod deadlock;
pub mod health;
pub mod log;
pub mod migrations;
pub mod recovery;
pub mod roles;

use crate::catalog;
use crate::pg::catalog::databases;
use crate::pg::error::notify;
use crate::pg::ipc::worker::{self, Assignment, Kind, Running};
use crate::settings;
use crate::shared::schema_counters;
use crate::shared::server_epoch;
use crate::shared::worker_slots::{self, Work};
use pgrx::PgLogLevel;
use std::time::{Duration, Instant};

/// The launcher, as registered with the postmaster.
pub const LAUNCHER: Kind =
    Kind { name: c"helios launcher", library: c"helios", main: c"helios_launcher_main" };

/// The worker of a database.
const WORKER: Kind =
    Kind { name: c"helios worker", library: c"helios", main: c"helios_worker_main" };

/// Every database is checked when the server starts, and again after this time, in case nobody was able to report that
/// it has work to do.
const ROUND: Duration = Duration::from_secs(600);

/// Number of workers running at a time: by default the server has slots for eight, and others need some.
const MOST: usize = 3;
/// How long a worker continues when others wait for its slot.
const TURN: Duration = Duration::from_secs(1);

fn recovery_interval() -> Duration {
    Duration::from_millis(u64::try_from(settings::RECOVERY_INTERVAL.get()).unwrap_or(5000))
}

/// Main function of the launcher.
pub fn launcher() {
    schema_counters::begin();
    server_epoch::epoch(); // the sooner, the fewer ids lie between the server's start and what is noted of it
    let mut running: Vec<(u32, Running)> = Vec::new();
    let mut last_round: Option<Instant> = None;
    let mut last_started = 0;
    loop {
        running.retain(|(_, worker)| worker.is_alive());
        let mut due = worker_slots::pending();
        due.extend(worker_slots::resident());
        due.retain(|database| !running.iter().any(|(d, _)| d == database));
        let is_round = last_round.is_none_or(|last| last.elapsed() >= ROUND);
        if is_round || !due.is_empty() {
            let there = worker::in_transaction(databases::connectable);
            due.iter().filter(|d| !there.contains(d)).for_each(|gone| worker_slots::forget(*gone));
            due = if is_round {
                there
            } else {
                due.into_iter().filter(|d| there.contains(d)).collect()
            };
        }
        if is_round {
            last_round = Some(Instant::now());
        }
        // With more databases than slots, each gets its turn.
        due.sort_unstable();
        let turn = due.partition_point(|database| *database <= last_started);
        due.rotate_left(turn);
        let mut waiting = false;
        for database in due {
            if worker_slots::is_held(database) || running.iter().any(|(d, _)| *d == database) {
                continue;
            }
            let free = running.len() < MOST;
            match if free { start(database) } else { None } {
                Some(worker) => {
                    running.push((database, worker));
                    last_started = database;
                }
                // No free slot: make sure that the database is not forgotten.
                None => worker_slots::note(database, Work::Pending),
            }
            waiting |= !free;
        }
        worker_slots::set_databases_waiting(waiting);
        // Every exiting worker wakes up the launcher: do not restart it immediately.
        let next = Instant::now() + recovery_interval();
        while Instant::now() < next {
            worker::sleep(next - Instant::now());
            if waiting && running.iter().any(|(_, worker)| !worker.is_alive()) {
                break; // its place is free
            }
        }
    }
}

/// Starts the worker of a database; returns `None` if the server has no free worker slot.
fn start(database: u32) -> Option<Running> {
    Running::start(&WORKER, WORKER.name, Assignment { database, role: 0, task: 0 })
}

/// The error if the version of the database's catalogs is not supported by this library. The database is then left
/// alone until the version changes.
fn other_version(database: u32) -> Option<crate::error::Error> {
    worker::in_transaction(catalog::gate::refusal)?;
    worker_slots::set_resident(database, false);
    worker_slots::note(database, Work::Done);
    // The version may have changed between the two checks, and the request made then overwritten.
    let still = worker::in_transaction(catalog::gate::refusal);
    if still.is_none() {
        worker_slots::note(database, Work::Pending);
    }
    still
}

/// Main function of a database's worker: exits when the database has no nodes, no migration, and no unfinished work.
pub fn run(database: u32) {
    let mut detector = deadlock::Detector::default();
    let mut watch = health::Watch::default();
    let mut balance = balance::Balance::default();
    let mut roles = roles::Roles::default();
    let mut last_recovery: Option<Instant> = None;
    let mut migrations = migrations::Workers::default();
    let began = Instant::now();
    if let Some(error) = other_version(database) {
        return notify(PgLogLevel::LOG, &error);
    }
    loop {
        let outcome = worker::in_transaction(|| {
            if let Some(error) = catalog::gate::refusal() {
                return Err(error);
            }
            if catalog::exists() { health::nodes().map(Some) } else { Ok(None) }
        });
        let nodes = match outcome {
            Ok(Some(nodes)) => nodes,
            Ok(None) => {
                worker_slots::set_resident(database, false);
                return worker_slots::note(database, Work::Done);
            }
            Err(error) => return notify(PgLogLevel::LOG, &error),
        };
        let mut next = recovery_interval();
        let since = last_recovery.map(|last| last.elapsed());
        if last_recovery.is_none() || worker_slots::of_database(database) == Work::Pending {
            match since.and_then(|since| next.checked_sub(since)) {
                Some(left) => next = left,
                None => {
                    last_recovery = Some(Instant::now());
                    recovery::run(database);
                }
            }
        }
        // Schemas can also be imported to a cluster of a single server.
        let moving = migrations.poll(database);
        let is_needed = !nodes.is_empty() || moving.is_some();
        worker_slots::set_resident(database, is_needed);
        if !is_needed || (worker_slots::are_databases_waiting() && began.elapsed() > TURN) {
            return;
        }
        next = moving.map_or(next, |again| next.min(again));
        if !nodes.is_empty() {
            next = next.min(watch.poll(database, &nodes)).min(balance.poll());
            next = next.min(roles.poll(&nodes));
        }
        next = detector.poll(database).map_or(next, |again| next.min(again));
        worker::sleep(next);
    }
}
