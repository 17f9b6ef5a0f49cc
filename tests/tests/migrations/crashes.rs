//! The crash matrix: each fault at each failpoint of a migration, while a client writes. The migration continues by
//! itself, or fails and leaves the schema where it was; every acknowledged write is present exactly once; nothing is
//! left behind.
//!
//! The servers use a library built with the cargo feature `failpoints`. `HELIOS_PLACE` selects failpoints by a part
//! of their names.

use std::collections::BTreeSet;
use std::time::Duration;

use helios_tests::{BOUND, Cluster, Proxy, wait_until};
use postgres::Client;
use testkit::cluster::DATABASE;
use testkit::ledger::{Account, Ledger, Written};

use crate::{SETTINGS, assert_clean, shown, text};

/// The fault at the failpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The step raises an error.
    Error,
    /// The migration's worker is killed by SIGKILL, which restarts the coordinator's other processes.
    Worker,
    /// The coordinator is killed with all its processes.
    Coordinator,
    /// The source node is killed with all its processes.
    Source,
    /// The target node is killed with all its processes.
    Target,
    /// The connections to both nodes are cut.
    Cut,
}

/// The operation in which the failpoint is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Migrating up to the switch, and a little further.
    There,
    /// Rolling back after the switch.
    Back,
    /// Finishing the migration.
    Finish,
}

pub(crate) const PLACES: &[(&str, Way)] = &[
    ("migration.step.before", Way::There),
    ("migration.publish.before", Way::There),
    ("migration.slot.before", Way::There),
    ("migration.slot.after", Way::There),
    ("migration.definition.after", Way::There),
    ("migration.table.copied", Way::There),
    ("migration.indexes.before", Way::There),
    ("migration.indexes.after", Way::There),
    ("migration.subscribe.before", Way::There),
    ("migration.subscribe.after", Way::There),
    ("migration.verify.before", Way::There),
    ("migration.back.before", Way::There),
    ("migration.back.after", Way::There),
    ("migration.switch.before", Way::There),
    ("migration.fence.after", Way::There),
    ("migration.flip.before", Way::There),
    ("migration.switch.after", Way::There),
    ("migration.reverse.before", Way::There),
    ("migration.reverse.after", Way::There),
    ("migration.switch.before", Way::Back),
    ("migration.fence.after", Way::Back),
    ("migration.flip.before", Way::Back),
    ("migration.switch.after", Way::Back),
    ("migration.cleanup.before", Way::Back),
    ("migration.cleanup.before", Way::Finish),
    ("migration.cleanup.after", Way::Finish),
];

pub(crate) const TENANT: &str = "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\";
    CREATE TABLE t.a (id serial PRIMARY KEY, v text UNIQUE); INSERT INTO t.a (v) SELECT md5(i::text) FROM generate_series(1, 2000) i;
    CREATE TABLE t.nokey (x int); INSERT INTO t.nokey SELECT i % 7 FROM generate_series(1, 50) i;
    CREATE TABLE t.child (a int REFERENCES t.a ON DELETE CASCADE); INSERT INTO t.child SELECT generate_series(1, 100);
    CREATE TABLE t.ledger (number bigint);
    CREATE VIEW t.v AS SELECT count(*) FROM t.a";

#[test]
fn every_place_of_a_migration_is_in_the_matrix() {
    let cluster = Cluster::with_failpoints(1, &[]);
    let of_migrations =
        cluster.failpoints().into_iter().filter(|name| name.starts_with("migration."));
    // Imports have separate tests.
    let of_migrations = of_migrations.filter(|name| !name.starts_with("migration.import."));
    let known: BTreeSet<String> = of_migrations.collect();
    let tried = PLACES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(known, tried);
}

#[test]
fn errors_at_every_place() {
    run(Fault::Error);
}

#[test]
fn workers_killed_at_every_place() {
    run(Fault::Worker);
}

#[test]
fn coordinators_killed_at_every_place() {
    run(Fault::Coordinator);
}

#[test]
fn sources_killed_at_every_place() {
    run(Fault::Source);
}

#[test]
fn targets_killed_at_every_place() {
    run(Fault::Target);
}

#[test]
fn connections_cut_at_every_place() {
    run(Fault::Cut);
}

fn run(fault: Fault) {
    let mut settings = SETTINGS.to_vec();
    settings.extend(["helios.recovery_interval = '500ms'", "helios.health_interval = '500ms'"]);
    let cluster = Cluster::with_failpoints(2, &settings);
    cluster.connect().batch_execute(TENANT).unwrap();
    let proxies = [Proxy::of_node(&cluster, 1), Proxy::of_node(&cluster, 2)];
    let stage = Stage { cluster, proxies, fault };
    let only = std::env::var("HELIOS_PLACE").unwrap_or_default();
    let mut next_number = 0;
    for &(place, way) in PLACES.iter().filter(|(place, _)| place.contains(&only)) {
        eprintln!("{fault:?} at {place} ({way:?})");
        stage.case(place, way, &mut next_number);
    }
}

/// One cluster for all cases of a fault.
struct Stage {
    cluster: Cluster,
    proxies: [Proxy; 2],
    fault: Fault,
}

impl Stage {
    fn case(&self, place: &str, way: Way, next_number: &mut i64) {
        let home = self.home();
        let other = if home == "node-1" { "node-2" } else { "node-1" };
        let server = self.cluster.coordinator();
        let ledger = Ledger::go_on(server, "t", 1, Duration::from_millis(3), *next_number);
        self.migrate(place, way, &home, other);
        let written = ledger.finish().unwrap();
        assert_clean(&self.cluster, &["t"]);
        self.check(place, &written);
        *next_number += 1_000_000;
    }

    fn migrate(&self, place: &str, way: Way, home: &str, other: &str) {
        let deaths = self.cluster.deaths();
        if way == Way::There {
            self.arm(place);
        }
        let id = self.begin(other);
        if way != Way::There {
            let state = self.reaches(id, &["dual_write_back"]);
            assert_eq!(state, "dual_write_back");
            self.arm(place);
            self.ask(if way == Way::Back { "rollback" } else { "finish" }, id);
        }
        self.strike(place, home, other, deaths);
        self.cluster.start_all(BOUND);
        self.cluster.failpoint_off(place, BOUND);
        let ends = ["finished", "rolled_back", "failed", "cancelled"];
        let mut state = self.reaches(id, &[&ends[..], &["dual_write_back"]].concat());
        if state == "dual_write_back" {
            // A request made before the fault may have been lost with it.
            self.ask(if way == Way::Back { "rollback" } else { "finish" }, id);
            state = self.reaches(id, &ends);
        }
        let expected = if way == Way::Back { ("rolled_back", home) } else { ("finished", other) };
        let now = self.home();
        let seen = (state.as_str(), now.as_str());
        // A migration fails only on an error that retrying cannot cure.
        let given_up = self.fault == Fault::Error && seen == ("failed", home);
        let row = shown(&mut self.cluster.connect(), id);
        assert!(seen == expected || given_up, "{:?} at {place}: {seen:?} {row}", self.fault);
    }

    fn home(&self) -> String {
        self.asked("the schema's node", |client| {
            let query = "SELECT helios_node_for_schema('t')";
            client.query_one(query, &[]).map(|row| row.get(0))
        })
    }

    /// Sends a request to the coordinator as soon as it responds.
    fn asked<T>(&self, what: &str, ask: impl Fn(&mut Client) -> Result<T, postgres::Error>) -> T {
        wait_until(&format!("the coordinator returns {what}"), BOUND, || {
            let coordinator = self.cluster.coordinator();
            let mut client = coordinator.connect(DATABASE).map_err(|error| format!("{error:#}"))?;
            ask(&mut client).map_err(|error| format!("{error:?}"))
        })
    }

    fn begin(&self, node: &str) -> i64 {
        // A node that just restarted may still be considered down; and a server that is killed may take
        // the response with it.
        self.asked("the migration's number", |client| {
            let running = "SELECT max(id) FROM helios.migration WHERE state NOT IN ('finished', 'rolled_back', 'failed', 'cancelled')";
            match client.query_one(running, &[])?.get(0) {
                Some(id) => Ok(id),
                None => {
                    let begin = "SELECT helios_migrate_schema('t', $1)";
                    client.query_one(begin, &[&node]).map(|row| row.get(0))
                }
            }
        })
    }

    fn ask(&self, what: &str, id: i64) {
        self.asked(what, |client| {
            // The response may be lost although the request has taken effect.
            let ended = "SELECT FROM helios.migration WHERE id = $1 AND state IN ('finished', 'rolled_back', 'cleanup')";
            if !client.query(ended, &[&id])?.is_empty() {
                return Ok(());
            }
            client.query(&format!("SELECT helios_{what}_migration($1)"), &[&id]).map(drop)
        });
    }

    /// The first of these states that the migration reaches.
    fn reaches(&self, id: i64, states: &[&str]) -> String {
        wait_until(&format!("the migration is in one of {states:?}"), 2 * BOUND, || {
            let coordinator = self.cluster.coordinator();
            let mut client = coordinator.connect(DATABASE).map_err(|error| format!("{error:#}"))?;
            let query = "SELECT state FROM helios.migration WHERE id = $1";
            let row = client.query_one(query, &[&id]).map_err(|error| format!("{error:?}"))?;
            let state: String = row.get(0);
            if states.contains(&state.as_str()) { Ok(state) } else { Err(shown(&mut client, id)) }
        })
    }

    fn arm(&self, place: &str) {
        let action = match self.fault {
            Fault::Error => "error",
            Fault::Worker => "die",
            _ => "hang",
        };
        self.cluster.failpoint(place, action, 1, 0);
    }

    /// Waits until the failpoint is reached, and causes the fault.
    fn strike(&self, place: &str, home: &str, other: &str, deaths: usize) {
        if self.fault == Fault::Worker {
            return self.cluster.wait_for_death(place, deaths, BOUND);
        }
        self.cluster.wait_for_failpoint(place, BOUND);
        match self.fault {
            Fault::Error | Fault::Worker => {}
            Fault::Coordinator => self.cluster.coordinator().kill().unwrap(),
            Fault::Source => self.cluster.node_named(home).kill().unwrap(),
            Fault::Target => self.cluster.node_named(other).kill().unwrap(),
            Fault::Cut => self.proxies.iter().for_each(Proxy::cut),
        }
    }

    /// Asserts that every acknowledged write is present exactly once, no other more than once, and other rows are unchanged.
    fn check(&self, place: &str, written: &Written) {
        let mut client = self.cluster.connect();
        let (account, fault) = (written.account(&mut client, "t").unwrap(), self.fault);
        let whole = Account { acknowledged: written.acknowledged.len(), lost: 0, repeated: 0 };
        assert_eq!(account, whole, "{fault:?} at {place}");
        let query = "SELECT count(*), sum(hashtextextended(a::text, 0)) FROM t.a; SELECT count(*), sum(x) FROM t.nokey; SELECT * FROM t.v";
        let now = text(&mut client, query);
        assert_eq!(now[0].split('|').next(), Some("2000"), "{fault:?} at {place}");
        assert_eq!(now[1..], ["50|148", "2000"], "{fault:?} at {place}");
    }
}
