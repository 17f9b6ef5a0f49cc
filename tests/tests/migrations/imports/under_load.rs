//! Clients that write to the foreign server, and connect to the cluster once they are refused there, lose nothing.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use postgres::Client;

use super::{Abroad, assert_gone, switch};
use crate::{assert_clean, cluster, finish, roll_back, text};

const TENANT: &str = "CREATE SCHEMA t; \
    CREATE TABLE t.entry (number bigint PRIMARY KEY, v text, changed int NOT NULL DEFAULT 0); \
    CREATE TABLE t.line (number bigint REFERENCES t.entry, x int); CREATE INDEX ON t.line (number); \
    CREATE TABLE t.noted (number bigint); CREATE SEQUENCE t.counter; CREATE TABLE t.drawn (value bigint PRIMARY KEY); \
    INSERT INTO t.entry SELECT -i, md5(i::text) FROM generate_series(1, 30000) i;";

/// The writes of one transaction, which are committed atomically.
const WORK: [&str; 4] = [
    "INSERT INTO t.entry (number, v) VALUES ({n}, 'x')",
    "BEGIN; INSERT INTO t.entry (number, v) VALUES ({n}, 'x'); INSERT INTO t.line SELECT {n}, x FROM generate_series(1, 3) x; COMMIT",
    "BEGIN; INSERT INTO t.entry (number, v) VALUES ({n}, 'x'); UPDATE t.entry SET changed = changed + 1 WHERE number = -1 - {n} % 1000; COMMIT",
    "BEGIN; INSERT INTO t.entry (number, v) VALUES ({n}, 'x'); INSERT INTO t.noted VALUES ({n}); INSERT INTO t.drawn VALUES (nextval('t.counter')); COMMIT",
];

#[derive(Default)]
struct Ledger {
    acknowledged: Mutex<BTreeSet<i64>>,
    next: AtomicI64,
    moved: AtomicI64,
    stop: AtomicBool,
}

impl Ledger {
    /// Writes to one of the servers until refused, then to the other.
    fn write(&self, mut sides: [Client; 2], work: &str) {
        let mut side = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            match sides[side].batch_execute(&work.replace("{n}", &number.to_string())) {
                Ok(()) => {
                    self.acknowledged.lock().unwrap().insert(number);
                }
                Err(error) => {
                    let code = error.code().unwrap_or_else(|| panic!("{error:?}")).code();
                    // Refused; no longer there, or not yet; interrupted by the switch.
                    assert!(
                        ["55006", "42P01", "3F000", "40001", "55000"].contains(&code),
                        "{error:?}"
                    );
                    sides[side].batch_execute("ROLLBACK").unwrap();
                    side = 1 - side;
                    self.moved.fetch_add(1, Ordering::Relaxed);
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Stops the clients, also if the test fails.
struct StopAtEnd<'a>(&'a Ledger);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn every_acknowledged_write_is_there_once() {
    let (cluster, abroad) = (cluster(1), Abroad::start());
    let (mut client, mut there) = (cluster.connect(), abroad.connect());
    there.batch_execute(TENANT).unwrap();
    let ledger = Ledger::default();
    std::thread::scope(|scope| {
        for (number, work) in WORK.iter().enumerate() {
            let (ledger, sides) = (&ledger, [abroad.connect(), cluster.connect()]);
            let name = format!("writer {number}");
            std::thread::Builder::new()
                .name(name)
                .spawn_scoped(scope, move || ledger.write(sides, work))
                .unwrap();
        }
        let stop = StopAtEnd(&ledger);
        let id = switch(&mut client, &abroad, "t", "node-1");
        std::thread::sleep(Duration::from_millis(300));
        roll_back(&mut client, id);
        std::thread::sleep(Duration::from_millis(300));
        abroad.assert_clean();
        check(&mut there, &ledger, false);
        let id = switch(&mut client, &abroad, "t", "node-1");
        std::thread::sleep(Duration::from_millis(300));
        finish(&mut client, id);
        drop(stop);
    });
    check(&mut client, &ledger, true);
    assert!(ledger.moved.load(Ordering::Relaxed) >= 3, "{:?}", ledger.moved);
    assert_clean(&cluster, &["t"]);
    let stalls =
        text(&mut client, "SELECT round(stall::numeric, 1) FROM helios_migrations ORDER BY id");
    println!(
        "{} writes; fences stood for {} ms",
        ledger.acknowledged.lock().unwrap().len(),
        stalls.join(" and ")
    );
}

/// Asserts that acknowledged rows are present, and nothing else once no client is writing.
fn check(client: &mut Client, ledger: &Ledger, ended: bool) {
    let acknowledged = ledger.acknowledged.lock().unwrap().clone();
    let rows = client.query("SELECT number FROM t.entry WHERE number >= 0", &[]).unwrap();
    let there: BTreeSet<i64> = rows.iter().map(|row| row.get(0)).collect();
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert!(acknowledged.len() > 100, "{} writes", acknowledged.len());
    if ended {
        assert_eq!(acknowledged, there);
    }
    let wrong = "SELECT count(*) FROM (SELECT number FROM t.line GROUP BY number HAVING count(*) <> 3) AS w";
    assert_eq!(text(client, wrong), ["0"]);
    let twice = "SELECT number FROM t.noted GROUP BY number HAVING count(*) > 1";
    assert_eq!(text(client, twice), [""; 0]);
    assert_eq!(text(client, "SELECT count(*) FROM t.entry WHERE number < 0"), ["30000"]);
}

/// Prepared statements and functions that have been used keep no state of a schema that was returned.
#[test]
fn plans_that_were_kept_find_nothing_when_the_schema_has_gone_back() {
    let (cluster, abroad) = (cluster(1), Abroad::start());
    let (mut client, mut there) = (cluster.connect(), abroad.connect());
    there
        .batch_execute(
            "CREATE SCHEMA t; CREATE TABLE t.a (id int PRIMARY KEY); INSERT INTO t.a VALUES (1)",
        )
        .unwrap();
    let id = switch(&mut client, &abroad, "t", "node-1");
    let mut user = cluster.connect();
    let (read, write) = (
        user.prepare("SELECT count(*) FROM t.a").unwrap(),
        user.prepare("INSERT INTO t.a VALUES ($1)").unwrap(),
    );
    user.batch_execute("CREATE FUNCTION f() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(*) FROM t.a); END $$").unwrap();
    for n in 2..8 {
        user.execute(&write, &[&n]).unwrap();
        let count: i64 = user.query_one(&read, &[]).unwrap().get(0);
        assert_eq!(count, i64::from(n));
        assert_eq!(text(&mut user, "SELECT f()"), [n.to_string()]);
    }
    roll_back(&mut client, id);
    for error in [
        user.query(&read, &[]).unwrap_err(),
        user.execute(&write, &[&9]).unwrap_err(),
        user.query("SELECT f()", &[]).unwrap_err(),
    ] {
        assert!(["42P01", "3F000"].contains(&error.code().unwrap().code()), "{error:?}");
    }
    assert_eq!(text(&mut there, "SELECT count(*) FROM t.a"), ["7"]);
    user.batch_execute("DROP FUNCTION f()").unwrap();
    abroad.assert_clean();
    assert_gone(&cluster, "t");
}
