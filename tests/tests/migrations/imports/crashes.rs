//! The worker of an import dies at each step of it, also between the two commits of the switch: another goes on, every
//! acknowledged write is there once, and both copies can never be written.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use helios_tests::{BOUND, Cluster, wait_until};
use postgres::Client;
use xtask::cluster::DATABASE;

use super::{Abroad, assert_gone};
use crate::{SETTINGS, shown, text};

const PLACES: [&str; 9] = [
    "migration.publish.before",
    "migration.slot.after",
    "migration.table.copied",
    "migration.indexes.after",
    "migration.subscribe.after",
    "migration.back.after",
    "migration.fence.after",
    "migration.import.closed",
    "migration.switch.after",
];

/// Writes wherever it is possible, one number after the other.
fn write(
    cluster: &Cluster,
    abroad: &Abroad,
    stop: &AtomicBool,
    done: &Mutex<BTreeSet<i64>>,
    first: i64,
) {
    let mut there = abroad.connect();
    let mut here: Option<Client> = None;
    let mut number = first;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let insert = format!("INSERT INTO t.ledger VALUES ({number})");
        let is_there = there.batch_execute(&insert).is_ok();
        // The coordinator restarts its processes when one is killed.
        let is_here = match &mut here {
            Some(client) => {
                let written = client.batch_execute(&insert).is_ok();
                if client.is_closed() {
                    here = None;
                }
                written
            }
            None => {
                here = cluster.coordinator().connect(DATABASE).ok();
                false
            }
        };
        assert!(!(is_there && is_here), "{number} could be written on both sides");
        if is_there || is_here {
            done.lock().unwrap().insert(number);
        }
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
}

#[test]
fn workers_killed_at_every_place() {
    let mut settings = SETTINGS.to_vec();
    settings.extend(["helios.recovery_interval = '500ms'", "helios.health_interval = '500ms'"]);
    let (cluster, abroad) = (Cluster::with_failpoints(1, &settings), Abroad::start());
    let mut there = abroad.connect();
    there
        .batch_execute(
            "CREATE SCHEMA t; CREATE TABLE t.a (id serial PRIMARY KEY, v text UNIQUE); INSERT INTO t.a (v) SELECT md5(i::text) FROM generate_series(1, 2000) i; \
             CREATE TABLE t.ledger (id bigint); CREATE VIEW t.v AS SELECT count(*) FROM t.a",
        )
        .unwrap();
    let only = std::env::var("HELIOS_PLACE").unwrap_or_default();
    for (number, place) in (1..).zip(PLACES).filter(|(_, place)| place.contains(&only)) {
        eprintln!("{place}");
        let (stop, done) = (AtomicBool::new(false), Mutex::default());
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| write(&cluster, &abroad, &stop, &done, number * 1_000_000));
            let _end = Stop(&stop);
            there_and_back(&cluster, &abroad, place);
            stop.store(true, Ordering::Relaxed);
            writer.join().unwrap();
        });
        abroad.assert_clean();
        assert_gone(&cluster, "t");
        let rows = there
            .query("SELECT id FROM t.ledger WHERE id > $1 ORDER BY id", &[&(number * 1_000_000)])
            .unwrap();
        let found: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        let done = done.into_inner().unwrap();
        let lost: Vec<_> = done.iter().filter(|number| !found.contains(number)).collect();
        assert!(lost.is_empty(), "at {place}: lost {lost:?}");
        assert!(found.windows(2).all(|pair| pair[0] != pair[1]), "at {place}: twice");
        assert_eq!(text(&mut there, "SELECT * FROM t.v"), ["2000"], "at {place}");
    }
}

/// Stops the writer when a check has failed.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn there_and_back(cluster: &Cluster, abroad: &Abroad, place: &str) {
    let deaths = || {
        let log = std::fs::read(cluster.coordinator().log()).unwrap();
        String::from_utf8_lossy(&log).matches("was terminated by signal 9").count()
    };
    let before = deaths();
    cluster.failpoint(place, "die", 1, 0);
    let id: i64 = asked(cluster, |client| {
        let running = "SELECT max(id) FROM helios.migration WHERE ended IS NULL";
        match client.query_one(running, &[])?.get(0) {
            Some(id) => Ok(id),
            None => {
                let ask = "SELECT helios_import_schema($1, 't')";
                client.query_one(ask, &[&abroad.conninfo()]).map(|row| row.get(0))
            }
        }
    });
    wait_until(&format!("the worker has died at {place}"), BOUND, || {
        if deaths() > before { Ok(()) } else { Err("it lives".to_owned()) }
    });
    reaches(cluster, id, "dual_write_back");
    asked(cluster, |client| {
        let state = "SELECT state = 'dual_write_back' FROM helios.migration WHERE id = $1";
        if client.query_one(state, &[&id])?.get(0) {
            client.query("SELECT helios_rollback_migration($1)", &[&id])?;
        }
        Ok(())
    });
    reaches(cluster, id, "rolled_back");
}

fn asked<T>(cluster: &Cluster, ask: impl Fn(&mut Client) -> Result<T, postgres::Error>) -> T {
    wait_until("the coordinator answers", BOUND, || {
        let mut client =
            cluster.coordinator().connect(DATABASE).map_err(|error| format!("{error:#}"))?;
        ask(&mut client).map_err(|error| format!("{error:?}"))
    })
}

fn reaches(cluster: &Cluster, id: i64, state: &str) {
    wait_until(&format!("the migration is in state {state}"), 2 * BOUND, || {
        let mut client =
            cluster.coordinator().connect(DATABASE).map_err(|error| format!("{error:#}"))?;
        let query = "SELECT state FROM helios.migration WHERE id = $1";
        let row = client.query_one(query, &[&id]).map_err(|error| format!("{error:?}"))?;
        if row.get::<_, String>(0) == state { Ok(()) } else { Err(shown(&mut client, id)) }
    });
}
