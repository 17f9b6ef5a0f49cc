//! Starts workers for migrations in the order of their IDs: a limited number at a time, and one for each node.

use crate::catalog;
use crate::migration;
use crate::pg::error::notify;
use crate::pg::ipc::lock;
use crate::pg::ipc::worker::{self, Assignment, Kind, Running};
use crate::replica;
use crate::settings;
use pgrx::PgLogLevel;
use std::ffi::CString;
use std::time::Duration;

/// The worker of a migration, whose task is the migration's ID.
const WORKER: Kind =
    Kind { name: c"helios migration", library: c"helios", main: c"helios_migration_main" };

/// The task of the worker that maintains all copies in sync.
const REPLICAS: i64 = 0;

/// Interval between checks of migrations in progress.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Interval between checks of the worker that monitors replicas.
const WATCH: Duration = Duration::from_secs(2);

/// The workers of one database's migrations that this process has started.
#[derive(Default)]
pub struct Workers {
    running: Vec<(i64, Running)>,
}

impl Workers {
    /// Starts workers for migrations that can continue; returns the time until the next poll, if one is needed.
    pub fn poll(&mut self, database: u32) -> Option<Duration> {
        self.running.retain(|(_, worker)| worker.is_alive());
        let found = worker::attempt(|| {
            let role = catalog::catalogs_owner()?.to_u32();
            Ok((catalog::migration::waiting()?, catalog::replica::any()?, role))
        });
        let (waiting, follows, role) = match found {
            Ok(found) => found,
            Err(error) => {
                notify(PgLogLevel::LOG, &error);
                return Some(POLL_INTERVAL);
            }
        };
        let watches = self.running.iter().any(|(id, _)| *id == REPLICAS);
        if follows && !watches {
            let started = start(Assignment { database, role, task: REPLICAS });
            self.running.extend(started.map(|worker| (REPLICAS, worker)));
        }
        let mut taken = Vec::new();
        let mut busy = 0;
        let mut next: Option<Duration> = follows.then_some(WATCH);
        for one in waiting {
            let has_room = !one.busy
                || busy < settings::MAX_CONCURRENT_MIGRATIONS.get()
                    && !taken.contains(&one.source)
                    && !taken.contains(&one.target);
            if one.busy && has_room {
                busy += 1;
                taken.extend([one.source, one.target]);
            }
            let runs = self.running.iter().any(|(id, _)| *id == one.id);
            if has_room && !runs && one.pause.is_zero() {
                let started = start(Assignment { database, role, task: one.id });
                self.running.extend(started.map(|worker| (one.id, worker)));
            }
            let again = if one.pause.is_zero() { POLL_INTERVAL } else { one.pause };
            next = Some(next.map_or(again, |next| next.min(again)));
        }
        next
    }
}

/// Starts a worker for a migration, or for all copies in sync; returns `None` if the server has no free worker slot.
fn start(assignment: Assignment) -> Option<Running> {
    let name = match assignment.task {
        REPLICAS => "helios replicas".to_owned(),
        id => format!("helios migration {id}"),
    };
    Running::start(&WORKER, &CString::new(name).unwrap_or_default(), assignment)
}

/// Main function of the worker of one migration, or of the worker that monitors all replicas of a database.
pub fn run(id: i64) {
    let table = worker::attempt(|| Ok(catalog::migration::catalog()));
    let Ok(Some(table)) = table else { return };
    // Only one worker at a time, whoever started it.
    if !lock::try_for_session(table, id as u32) {
        return;
    }
    match id {
        REPLICAS => replica::watch(),
        id => migration::run(id),
    }
}
