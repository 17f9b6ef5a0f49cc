//! The worker of an import, or the foreign server, is killed at each step, including between the two commits of the
//! switch: the import continues by itself, every acknowledged write is present exactly once, and the two copies are
//! never writable at the same time.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use helios_tests::{BOUND, Cluster, wait_until};
use postgres::Client;
use testkit::cluster::DATABASE;
use testkit::server::Server;

use super::{Abroad, assert_gone};
use crate::{SETTINGS, shown, text};

/// The fault at the failpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The migration's worker is killed by SIGKILL, which restarts the coordinator's other processes.
    Worker,
    /// The foreign server is killed with all its processes.
    Foreign,
}

/// The operation in which the failpoint is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

const PLACES: &[(&str, Way)] = &[
    ("migration.publish.before", Way::There),
    ("migration.slot.after", Way::There),
    ("migration.definition.after", Way::There),
    ("migration.table.copied", Way::There),
    ("migration.indexes.after", Way::There),
    ("migration.subscribe.after", Way::There),
    ("migration.back.after", Way::There),
    ("migration.fence.after", Way::There),
    ("migration.flip.before", Way::There),
    ("migration.import.closed", Way::There),
    ("migration.switch.after", Way::There),
    ("migration.reverse.after", Way::There),
    ("migration.fence.after", Way::Back),
    ("migration.flip.before", Way::Back),
    ("migration.switch.after", Way::Back),
    ("migration.cleanup.before", Way::Back),
    ("migration.cleanup.after", Way::Back),
];

/// Writes wherever it is possible, one number after the other, each on one side only.
fn write(
    cluster: &Cluster,
    abroad: &Abroad,
    stop: &AtomicBool,
    done: &Mutex<BTreeSet<i64>>,
    first: i64,
) {
    let (mut there, mut here): (Option<Client>, Option<Client>) = (None, None);
    let mut number = first;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let insert = format!("INSERT INTO t.ledger VALUES ({number})");
        // Servers are killed, and the coordinator restarts its processes when one of them is.
        // `None`: it is unknown whether the row was written.
        let try_on = |client: &mut Option<Client>, server: &Server| match client {
            Some(connected) => {
                let tried = connected.batch_execute(&insert);
                if connected.is_closed() {
                    *client = None;
                }
                match tried {
                    Ok(()) => Some(true),
                    Err(error) => error.code().map(|_| false),
                }
            }
            None => {
                *client = server.connect(DATABASE).ok();
                Some(false)
            }
        };
        // Try the foreign copy first: rows that it accepts although it is closed would be lost.
        let mut written = try_on(&mut there, &abroad.0.server);
        if written == Some(false) {
            written = try_on(&mut here, cluster.coordinator());
        }
        if written == Some(true) {
            done.lock().unwrap().insert(number);
        }
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
}

#[test]
fn workers_killed_at_every_place() {
    run(Fault::Worker);
}

#[test]
fn foreign_servers_killed_at_every_place() {
    run(Fault::Foreign);
}

fn run(fault: Fault) {
    let mut settings = SETTINGS.to_vec();
    settings.extend(["helios.recovery_interval = '500ms'", "helios.health_interval = '500ms'"]);
    let (cluster, abroad) = (Cluster::with_failpoints(1, &settings), Abroad::start());
    let tenant = "CREATE SCHEMA t; CREATE TABLE t.a (id serial PRIMARY KEY, v text UNIQUE); INSERT INTO t.a (v) SELECT md5(i::text) FROM generate_series(1, 2000) i; \
                  CREATE TABLE t.child (a int REFERENCES t.a ON DELETE CASCADE); INSERT INTO t.child SELECT generate_series(1, 100); \
                  CREATE TABLE t.ledger (id bigint); CREATE VIEW t.v AS SELECT count(*) FROM t.a";
    abroad.connect().batch_execute(tenant).unwrap();
    let only = std::env::var("HELIOS_PLACE").unwrap_or_default();
    let stage = Stage { cluster, abroad, fault };
    for (number, &(place, way)) in (1..).zip(PLACES).filter(|(_, (place, _))| place.contains(&only))
    {
        eprintln!("{fault:?} at {place} ({way:?})");
        stage.case(place, way, number * 1_000_000);
    }
}

/// One cluster and one foreign server for all cases of a fault.
struct Stage {
    cluster: Cluster,
    abroad: Abroad,
    fault: Fault,
}

impl Stage {
    fn case(&self, place: &str, way: Way, first: i64) {
        let Self { cluster, abroad, fault } = self;
        let (stop, done) = (AtomicBool::new(false), Mutex::default());
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| write(cluster, abroad, &stop, &done, first));
            let _end = Stop(&stop);
            self.there_and_back(place, way);
            stop.store(true, Ordering::Relaxed);
            writer.join().unwrap();
        });
        abroad.assert_clean();
        assert_gone(cluster, "t");
        let mut there = abroad.connect();
        let query = "SELECT id FROM t.ledger WHERE id > $1 ORDER BY id";
        let rows = there.query(query, &[&first]).unwrap();
        let found: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        let done = done.into_inner().unwrap();
        let lost: Vec<_> = done.iter().filter(|number| !found.contains(number)).collect();
        assert!(lost.is_empty(), "{fault:?} at {place}: lost {lost:?}");
        assert!(found.windows(2).all(|pair| pair[0] != pair[1]), "{fault:?} at {place}: twice");
        assert_eq!(text(&mut there, "SELECT * FROM t.v"), ["2000"], "{fault:?} at {place}");
    }

    fn there_and_back(&self, place: &str, way: Way) {
        let before = self.deaths();
        if way == Way::There {
            self.arm(place);
        }
        let id = self.begin();
        if way == Way::Back {
            self.reaches(id, "dual_write_back");
            self.arm(place);
            self.roll_back(id);
        }
        self.strike(place, before);
        if way == Way::There {
            self.reaches(id, "dual_write_back");
        }
        self.roll_back(id);
        self.reaches(id, "rolled_back");
    }

    fn deaths(&self) -> usize {
        let log = std::fs::read(self.cluster.coordinator().log()).unwrap();
        String::from_utf8_lossy(&log).matches("was terminated by signal 9").count()
    }

    fn arm(&self, place: &str) {
        let action = if self.fault == Fault::Worker { "die" } else { "hang" };
        self.cluster.failpoint(place, action, 1, 0);
    }

    /// Waits until the failpoint is reached, causes the fault, and repairs it.
    fn strike(&self, place: &str, deaths: usize) {
        if self.fault == Fault::Worker {
            return wait_until(&format!("the worker has died at {place}"), BOUND, || {
                if self.deaths() > deaths { Ok(()) } else { Err("it lives".to_owned()) }
            });
        }
        wait_until(&format!("{place} is reached"), BOUND, || {
            if self.cluster.failpoint_hits(place) > 0 { Ok(()) } else { Err("not yet".to_owned()) }
        });
        self.abroad.0.server.kill().unwrap();
        self.abroad.0.server.start().unwrap();
        self.cluster.failpoint(place, "off", 0, 0);
    }

    fn begin(&self) -> i64 {
        self.asked(|client| {
            let running = "SELECT max(id) FROM helios.migration WHERE ended IS NULL";
            match client.query_one(running, &[])?.get(0) {
                Some(id) => Ok(id),
                None => {
                    let ask = "SELECT helios_import_schema($1, 't')";
                    client.query_one(ask, &[&self.abroad.conninfo()]).map(|row| row.get(0))
                }
            }
        })
    }

    /// Requests the rollback unless that was done already.
    fn roll_back(&self, id: i64) {
        self.asked(|client| {
            let open = "SELECT state = 'dual_write_back' FROM helios.migration WHERE id = $1";
            if client.query_one(open, &[&id])?.get(0) {
                client.query("SELECT helios_rollback_migration($1)", &[&id])?;
            }
            Ok(())
        });
    }

    fn asked<T>(&self, ask: impl Fn(&mut Client) -> Result<T, postgres::Error>) -> T {
        wait_until("the coordinator answers", BOUND, || {
            let coordinator = self.cluster.coordinator();
            let mut client = coordinator.connect(DATABASE).map_err(|error| format!("{error:#}"))?;
            ask(&mut client).map_err(|error| format!("{error:?}"))
        })
    }

    fn reaches(&self, id: i64, state: &str) {
        wait_until(&format!("the migration is in state {state}"), 2 * BOUND, || {
            let coordinator = self.cluster.coordinator();
            let mut client = coordinator.connect(DATABASE).map_err(|error| format!("{error:#}"))?;
            let query = "SELECT state FROM helios.migration WHERE id = $1";
            let row = client.query_one(query, &[&id]).map_err(|error| format!("{error:?}"))?;
            if row.get::<_, String>(0) == state { Ok(()) } else { Err(shown(&mut client, id)) }
        });
    }
}

/// Stops the writer if a check has failed.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
