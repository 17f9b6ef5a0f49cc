//! A schema moves while it is written and read in all the ways clients use.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use helios_tests::{BOUND, Cluster, wait_until};
use postgres::Client;

use crate::{
    SETTINGS, Stop, assert_clean, begin, end_worker, finish, roll_back, shown, switch, text, wait,
};

/// What the clients know to be committed, and the time of the slowest statement.
#[derive(Default)]
struct Ledger {
    acknowledged: Mutex<BTreeSet<i64>>,
    next: AtomicU64,
    slowest: AtomicU64,
    stop: AtomicBool,
}

impl Ledger {
    fn timed<R>(&self, work: impl FnOnce() -> R) -> R {
        let began = Instant::now();
        let result = work();
        let took = u64::try_from(began.elapsed().as_micros()).unwrap();
        self.slowest.fetch_max(took, Ordering::Relaxed);
        result
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn number(&self) -> i64 {
        i64::try_from(self.next.fetch_add(1, Ordering::Relaxed)).unwrap()
    }

    fn acknowledge(&self, number: i64) {
        self.acknowledged.lock().unwrap().insert(number);
    }
}

const TENANT: &str = "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; \
    CREATE TABLE t.entry (number bigint PRIMARY KEY, v text, changed int NOT NULL DEFAULT 0); \
    CREATE TABLE t.line (number bigint REFERENCES t.entry, x int); CREATE INDEX ON t.line (number); \
    CREATE SEQUENCE t.counter; CREATE TABLE t.drawn (value bigint PRIMARY KEY); \
    INSERT INTO t.entry SELECT -i, md5(i::text) FROM generate_series(1, 30000) i; \
    CREATE FUNCTION t.draw() RETURNS void LANGUAGE plpgsql AS \
    $$ BEGIN FOR i IN 1..3 LOOP INSERT INTO t.drawn VALUES (nextval('t.counter')); END LOOP; END $$;";

/// One way of using the schema; each call is one transaction, and must succeed.
type Way = fn(&mut Client, &Ledger);

const WAYS: &[(&str, Way)] = &[
    ("autocommit", |client, ledger| {
        let number = ledger.number();
        let insert = "INSERT INTO t.entry (number, v) VALUES ($1, 'auto')";
        ledger.timed(|| client.execute(insert, &[&number])).unwrap();
        ledger.acknowledge(number);
    }),
    ("block", |client, ledger| {
        let number = ledger.number();
        ledger.timed(|| {
            let mut transaction = client.transaction().unwrap();
            let insert = "INSERT INTO t.entry (number, v) VALUES ($1, 'block')";
            transaction.execute(insert, &[&number]).unwrap();
            let lines = "INSERT INTO t.line SELECT $1::bigint, x FROM generate_series(1, 3) x";
            transaction.execute(lines, &[&number]).unwrap();
            transaction.commit().unwrap();
        });
        ledger.acknowledge(number);
    }),
    ("update", |client, ledger| {
        let update =
            "UPDATE t.entry SET changed = changed + 1 WHERE number = -1 - $1::bigint % 1000";
        ledger.timed(|| client.execute(update, &[&ledger.number()])).unwrap();
    }),
    ("text", |client, ledger| {
        let number = ledger.number();
        let insert = format!("INSERT INTO t.entry (number, v) VALUES ({number}, 'text')");
        ledger.timed(|| client.batch_execute(&insert)).unwrap();
        ledger.acknowledge(number);
    }),
    ("function", |client, ledger| {
        ledger.timed(|| client.query("SELECT t.draw()", &[])).unwrap();
    }),
    ("loop", |client, ledger| {
        let body = "DO $$ DECLARE n bigint; BEGIN FOR i IN 1..5 LOOP \
            SELECT count(*) INTO n FROM t.entry WHERE number BETWEEN -20 AND -1; \
            IF n <> 20 THEN RAISE 'found % rows', n; END IF; END LOOP; END $$";
        ledger.timed(|| client.batch_execute(body)).unwrap();
    }),
    ("copy", |client, ledger| {
        let number = ledger.number();
        ledger.timed(|| {
            let mut writer = client.copy_in("COPY t.entry (number, v) FROM STDIN").unwrap();
            std::io::Write::write_all(&mut writer, format!("{number}\tcopy\n").as_bytes()).unwrap();
            writer.finish().unwrap();
        });
        ledger.acknowledge(number);
    }),
    ("cursor", |client, _| {
        let mut transaction = client.transaction().unwrap();
        transaction
            .batch_execute(
                "DECLARE c CURSOR FOR SELECT number FROM t.entry WHERE number BETWEEN -100 AND -1",
            )
            .unwrap();
        let mut seen = 0;
        loop {
            let rows = transaction.query("FETCH 30 FROM c", &[]).unwrap();
            seen += rows.len();
            if rows.is_empty() {
                break;
            }
        }
        assert_eq!(seen, 100);
        transaction.commit().unwrap();
    }),
    ("repeatable read", |client, _| {
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").unwrap();
        let count = "SELECT count(*), sum(changed) FROM t.entry";
        let first = text(client, count);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(text(client, count), first);
        client.batch_execute("COMMIT").unwrap();
    }),
];

/// Uses the schema in all ways during an operation.
fn while_used(cluster: &Cluster, ledger: &Ledger, work: impl FnOnce()) {
    std::thread::scope(|scope| {
        for &(name, way) in WAYS {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn_scoped(scope, move || {
                    let mut client = cluster.connect();
                    while ledger.goes_on() {
                        way(&mut client, ledger);
                        std::thread::sleep(Duration::from_millis(2));
                    }
                })
                .unwrap();
        }
        let stop = Stop(&ledger.stop);
        work();
        drop(stop);
    });
}

#[test]
fn every_acknowledged_write_is_there_once() {
    // Each idle session here has a session on every node that it has used.
    let settings = [&SETTINGS[..], &["max_connections = 400"]].concat();
    let cluster = Cluster::with_settings(2, &settings);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    let idle: Vec<Client> = (0..200)
        .map(|_| {
            let mut one = cluster.connect();
            one.batch_execute("SELECT count(*) FROM t.line").unwrap();
            one
        })
        .collect();
    let ledger = Ledger::default();
    while_used(&cluster, &ledger, || {
        let id = switch(&mut client, "t", "node-2");
        std::thread::sleep(Duration::from_millis(300));
        roll_back(&mut client, id);
        let id = switch(&mut client, "t", "node-2");
        std::thread::sleep(Duration::from_millis(300));
        finish(&mut client, id);
    });
    for mut one in idle {
        one.batch_execute("SELECT count(*) FROM t.line").unwrap();
    }
    check(&cluster, &mut client, &ledger);
    let slowest = ledger.slowest.load(Ordering::Relaxed) / 1000;
    let stalls =
        text(&mut client, "SELECT round(stall::numeric, 1) FROM helios_migrations ORDER BY id");
    println!("slowest statement {slowest} ms, fences stood for {} ms", stalls.join(" and "));
}

/// Tables finished before the copy was interrupted are not copied again: they are replicated in a separate channel,
/// starting at the moment of their snapshot.
#[test]
fn a_copy_of_several_rounds_has_every_write_once() {
    let settings =
        [&SETTINGS[..], &["helios.migration_rate = 4000", "helios.migration_streams = 1"]];
    let cluster = Cluster::with_settings(2, &settings.concat());
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    for number in 1..=4 {
        let more = format!(
            "CREATE TABLE t.more_{number} (x int); INSERT INTO t.more_{number} SELECT generate_series(1, 3000)"
        );
        client.batch_execute(&more).unwrap();
    }
    let ledger = Ledger::default();
    while_used(&cluster, &ledger, || {
        let id = begin(&mut client, "t", "node-2");
        let mut kept = Vec::new();
        for round in 1..=3 {
            wait_until(&format!("round {round} has finished a table"), BOUND, || {
                kept = text(
                    &mut client,
                    "SELECT name, round FROM helios.migration_table WHERE round IS NOT NULL ORDER BY 1",
                );
                let some = kept.iter().any(|table| table.ends_with(&format!("|{round}")));
                if some { Ok(()) } else { Err(format!("{kept:?} {}", shown(&mut client, id))) }
            });
            end_worker(&mut client);
        }
        client.batch_execute("ALTER SYSTEM SET helios.migration_rate = 0").unwrap();
        client.batch_execute("SELECT pg_reload_conf()").unwrap();
        wait_until("the next round begins", BOUND, || {
            let begun = text(&mut client, "SELECT round > 3 FROM helios.migration");
            if begun == ["t"] { Ok(()) } else { Err(shown(&mut client, id)) }
        });
        assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
        let rounds = text(&mut client, "SELECT name, round FROM helios.migration_table ORDER BY 1");
        assert!(kept.iter().all(|table| rounds.contains(table)), "{kept:?} became {rounds:?}");
        std::thread::sleep(Duration::from_millis(300));
        roll_back(&mut client, id);
        let id = switch(&mut client, "t", "node-2");
        finish(&mut client, id);
    });
    check(&cluster, &mut client, &ledger);
}

/// Apply workers commit asynchronously, and here nothing else flushes the WAL soon. What they
/// applied just before the switch must not be sent back as new: rows without a key would be duplicated.
#[test]
fn rows_applied_just_before_the_switch_do_not_come_back() {
    let settings = [&SETTINGS[..], &["wal_writer_delay = 10s"]].concat();
    let cluster = Cluster::with_settings(2, &settings);
    let mut client = cluster.connect();
    let tenant =
        "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE t.noted (number bigint)";
    client.batch_execute(tenant).unwrap();
    let ledger = Ledger::default();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = cluster.connect();
                while ledger.goes_on() {
                    let number = ledger.number();
                    client.execute("INSERT INTO t.noted VALUES ($1)", &[&number]).unwrap();
                }
            });
        }
        let stop = Stop(&ledger.stop);
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(300));
            let id = switch(&mut client, "t", "node-2");
            let verify = "SELECT * FROM helios_verify_schema('t') WHERE mismatches > 0";
            assert_eq!(text(&mut client, verify), [""; 0]);
            roll_back(&mut client, id);
        }
        drop(stop);
    });
    let twice = "SELECT number FROM t.noted GROUP BY number HAVING count(*) > 1";
    assert_eq!(text(&mut client, twice), [""; 0]);
    assert_clean(&cluster, &["t"]);
}

fn check(cluster: &Cluster, client: &mut Client, ledger: &Ledger) {
    let there: BTreeSet<i64> = client
        .query("SELECT number FROM t.entry WHERE number >= 0", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let acknowledged = ledger.acknowledged.lock().unwrap();
    assert!(acknowledged.len() > 100, "{} writes", acknowledged.len());
    assert_eq!(*acknowledged, there);
    let lines = "SELECT count(*) FROM (SELECT number FROM t.line GROUP BY number HAVING count(*) <> 3) AS wrong";
    assert_eq!(text(client, lines), ["0"]);
    assert_eq!(text(client, "SELECT count(*) FROM t.entry WHERE number < 0"), ["30000"]);
    assert_clean(cluster, &["t"]);
}
