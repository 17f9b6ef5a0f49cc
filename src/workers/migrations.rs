//! Gives migrations their workers, in the order of their numbers: so many at a time, and one for each node.

use crate::catalog;
use crate::migration;
use crate::pg::error::notify;
use crate::pg::ipc::lock;
use crate::pg::ipc::worker::{self, MigrationWork, Running};
use crate::replica;
use crate::settings;
use pgrx::PgLogLevel;
use std::time::Duration;

/// How often migrations under way are looked after.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How often the worker that follows copies is looked after.
const WATCH: Duration = Duration::from_secs(2);

/// The workers of one database's migrations that this process has started.
#[derive(Default)]
pub struct Workers {
    running: Vec<(i64, Running)>,
}

impl Workers {
    /// Starts workers for migrations that may go on; the time until the next look, while there is something to look
    /// after.
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
        let watches = self.running.iter().any(|(id, _)| *id == worker::REPLICAS);
        if follows && !watches {
            let work = MigrationWork { database, migration: worker::REPLICAS, role };
            let started = Running::start_migration(work);
            self.running.extend(started.map(|worker| (worker::REPLICAS, worker)));
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
                let work = MigrationWork { database, migration: one.id, role };
                self.running.extend(Running::start_migration(work).map(|worker| (one.id, worker)));
            }
            let again = if one.pause.is_zero() { POLL_INTERVAL } else { one.pause };
            next = Some(next.map_or(again, |next| next.min(again)));
        }
        next
    }
}

/// Main function of the worker of one migration, or of the worker that follows all replicas of a database.
pub fn run(work: MigrationWork) {
    let id = work.migration;
    let table = worker::attempt(|| Ok(catalog::migration::catalog()));
    let Ok(Some(table)) = table else { return };
    // One worker at a time, whoever started it.
    if !lock::try_for_session(table, id as u32) {
        return;
    }
    match id {
        worker::REPLICAS => replica::watch(),
        id => migration::run(id),
    }
}
