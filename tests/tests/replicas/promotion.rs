//! Promotion of a copy: while the former primary responds, and after it was killed.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use helios_tests::{BOUND, Cluster, Stop, wait_until};
use postgres::Client;

use crate::{assert_clean, cluster, in_step, node_of, replicate, stop_applying, text};

const TENANT: &str = "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; \
    CREATE TABLE t.entry (id bigserial PRIMARY KEY, number bigint UNIQUE, at timestamptz DEFAULT clock_timestamp()); \
    CREATE TABLE t.nokey (x int); INSERT INTO t.nokey SELECT 1 FROM generate_series(1, 10); \
    CREATE TABLE t.noted (number bigint); \
    CREATE FUNCTION t.note() RETURNS trigger LANGUAGE plpgsql AS \
      $$ BEGIN INSERT INTO t.noted VALUES (NEW.number); RETURN NEW; END $$; \
    CREATE TRIGGER note AFTER INSERT ON t.entry FOR EACH ROW EXECUTE FUNCTION t.note(); \
    ALTER TABLE t.entry ENABLE ALWAYS TRIGGER note;";

/// Acknowledged numbers, with the IDs they got, and the time (seconds since 1970).
#[derive(Default)]
struct Ledger {
    acknowledged: Mutex<BTreeMap<i64, (i64, f64)>>,
    next: AtomicI64,
    stop: AtomicBool,
}

impl Ledger {
    /// Writes until told to stop, or until an error, which is returned.
    fn write(&self, cluster: &Cluster, settings: &str) -> Option<postgres::Error> {
        let mut client = cluster.connect();
        client.batch_execute(settings).unwrap();
        let insert = "INSERT INTO t.entry (number) VALUES ($1) RETURNING id";
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let id = if number % 2 == 0 {
                client.query_one(insert, &[&number]).map(|row| row.get(0))
            } else {
                in_block(&mut client, insert, number)
            };
            match id {
                Ok(id) => drop(self.acknowledged.lock().unwrap().insert(number, (id, now()))),
                Err(error) => return Some(error),
            }
        }
        None
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    #[track_caller]
    fn wait_for_more(&self) {
        let from = self.count();
        wait_until("more is written", BOUND, || {
            if self.count() > from + 20 { Ok(()) } else { Err(format!("{}", self.count())) }
        });
    }

    /// Acknowledged numbers that are missing.
    fn missing(&self, client: &mut Client) -> Vec<i64> {
        let there: Vec<String> = text(client, "SELECT number FROM t.entry");
        let there: std::collections::BTreeSet<i64> =
            there.iter().map(|number| number.parse().unwrap()).collect();
        let all = self.acknowledged.lock().unwrap();
        all.keys().copied().filter(|number| !there.contains(number)).collect()
    }
}

fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
}

fn in_block(client: &mut Client, insert: &str, number: i64) -> Result<i64, postgres::Error> {
    let mut block = client.transaction()?;
    let id = block.query_one(insert, &[&number])?.get(0);
    block.commit()?;
    Ok(id)
}

fn promote(client: &mut Client) -> (String, bool, Option<String>) {
    let rows = client
        .query("SELECT \"primary\", primary_lost, complete_until::text FROM helios_promote_replica('t')", &[])
        .unwrap();
    (rows[0].get(0), rows[0].get(1), rows[0].get(2))
}

#[track_caller]
fn consistent(client: &mut Client) {
    let noted = "SELECT count(*) FROM t.entry e FULL JOIN t.noted n USING (number) WHERE e.id IS NULL OR n.number IS NULL";
    assert_eq!(text(client, noted), ["0"], "the trigger has fired once for each row");
    assert_eq!(text(client, "SELECT count(*) = count(DISTINCT number) FROM t.noted"), ["t"]);
}

#[test]
fn there_and_back_under_load_nothing_is_lost() {
    let cluster = cluster(3);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    replicate(&mut client, "t", 2);
    let copy = in_step(&mut client, "t", 1).concat();
    let ledger = Ledger::default();
    std::thread::scope(|scope| {
        let stop = Stop(&ledger.stop);
        let writers: Vec<_> = (0..3).map(|_| scope.spawn(|| ledger.write(&cluster, ""))).collect();
        ledger.wait_for_more();
        assert_eq!(promote(&mut client), (copy.clone(), false, None));
        assert_eq!(node_of(&mut client, "t"), copy);
        ledger.wait_for_more();
        // The former primary keeps a copy.
        assert_eq!(in_step(&mut client, "t", 1), ["node-1"]);
        assert_eq!(promote(&mut client), ("node-1".to_owned(), false, None));
        ledger.wait_for_more();
        in_step(&mut client, "t", 1);
        drop(stop);
        for writer in writers {
            let error = writer.join().unwrap();
            assert!(error.is_none(), "{error:?}");
        }
    });
    assert_eq!(ledger.missing(&mut client), Vec::<i64>::new());
    consistent(&mut client);
    client.batch_execute("UPDATE t.nokey SET x = 2").unwrap();
    replicate(&mut client, "t", 1);
    assert_clean(&cluster, &["t"]);
    client.batch_execute("ALTER TABLE t.entry ADD w int").unwrap();
}

#[test]
fn with_three_copies_the_third_follows_the_new_one() {
    let cluster = cluster(3);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    replicate(&mut client, "t", 3);
    let rows =
        client.query("SELECT \"primary\" FROM helios_promote_replica('t', 'node-3')", &[]).unwrap();
    assert_eq!(rows[0].get::<_, String>(0), "node-3");
    assert_eq!(in_step(&mut client, "t", 2), ["node-1", "node-2"]);
    client
        .batch_execute("INSERT INTO t.entry (number) VALUES (7); UPDATE t.nokey SET x = 3")
        .unwrap();
    for node in [1, 2] {
        crate::same_there(
            &cluster,
            &mut client,
            node,
            "SELECT (SELECT number FROM t.entry), (SELECT sum(x) FROM t.nokey)",
        );
    }
    replicate(&mut client, "t", 1);
    assert_clean(&cluster, &["t"]);
}

/// Kills the tenant's node under load, and promotes; returns the result of the promotion.
fn lose_primary(
    cluster: &Cluster,
    client: &mut Client,
    ledger: &Ledger,
    settings: &str,
) -> (String, Option<String>) {
    std::thread::scope(|scope| {
        let _stop = Stop(&ledger.stop);
        let writers: Vec<_> =
            (0..3).map(|_| scope.spawn(|| ledger.write(cluster, settings))).collect();
        ledger.wait_for_more();
        cluster.kill_node(1);
        for writer in writers {
            let error = writer.join().unwrap().expect("the node is gone");
            let code = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
            assert!(code.starts_with("08") || code.starts_with("57"), "{error:?}");
        }
    });
    let (node, lost, complete_until) = promote(client);
    assert!(lost);
    assert_eq!(node_of(client, "t"), node);
    (node, complete_until)
}

#[test]
fn after_the_primary_was_killed_no_confirmed_write_is_lost() {
    let cluster = cluster(3);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    replicate(&mut client, "t", 2);
    let ledger = Ledger::default();
    let settings = "SET helios.synchronous_replicas = on; SET helios.replica_timeout = '60s'";
    let (node, complete_until) = lose_primary(&cluster, &mut client, &ledger, settings);
    assert!(complete_until.is_some());
    // Writes waiting for confirmation when the node died may be missing, and were not acknowledged.
    assert_eq!(ledger.missing(&mut client), Vec::<i64>::new());
    consistent(&mut client);
    // Sequences continue beyond every value returned before.
    let highest = ledger.acknowledged.lock().unwrap().values().map(|(id, _)| *id).max().unwrap();
    let id: i64 = client
        .query_one("INSERT INTO t.entry (number) VALUES (-1) RETURNING id", &[])
        .unwrap()
        .get(0);
    assert!(id > highest, "{id} after {highest}");
    client
        .batch_execute("UPDATE t.nokey SET x = 5; DELETE FROM t.nokey WHERE ctid = '(0,11)'")
        .unwrap();
    // Another node gets a copy; the one that comes back drops its own.
    let copies = in_step_elsewhere(&mut client, &node);
    cluster.start_node(1);
    wait_until("the old copy is gone", BOUND, || {
        let there = "SELECT count(*) FROM pg_namespace WHERE nspname = 't'";
        let left = text(&mut cluster.connect_to_node(1), there);
        if left == ["0"] || copies == "node-1" { Ok(()) } else { Err(format!("{left:?}")) }
    });
    assert_eq!(node_of(&mut client, "t"), node);
    client.batch_execute("INSERT INTO t.entry (number) VALUES (-2)").unwrap();
    replicate(&mut client, "t", 1);
    assert_clean(&cluster, &["t"]);
    consistent(&mut client);
}

fn in_step_elsewhere(client: &mut Client, primary: &str) -> String {
    let select =
        "SELECT node::text FROM helios_replicas WHERE state = 'in_step' AND 't' = ANY (schemas)";
    wait_until("there is another copy", BOUND, || {
        let found = text(client, select);
        match found.first() {
            Some(node) if node != primary => Ok(node.clone()),
            _ => Err(format!("{:?}", text(client, "SELECT r::text FROM helios_replicas r"))),
        }
    })
}

#[test]
fn what_may_be_lost_is_within_the_bound_that_is_told() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    replicate(&mut client, "t", 2);
    let ledger = Ledger::default();
    let held = std::thread::scope(|scope| {
        let _stop = Stop(&ledger.stop);
        let writer = scope.spawn(|| ledger.write(&cluster, ""));
        ledger.wait_for_more();
        let holder = stop_applying(&cluster, 2, "t.entry");
        let held = now();
        ledger.wait_for_more();
        std::thread::sleep(Duration::from_millis(300));
        cluster.kill_node(1);
        drop(holder);
        assert!(writer.join().unwrap().is_some());
        held
    });
    let told = "SELECT primary_lost, extract(epoch FROM complete_until)::double precision, bytes_behind \
        FROM helios_promote_replica('t')";
    let rows = client.query(told, &[]).unwrap();
    assert!(rows[0].get::<_, bool>(0));
    let complete_until: f64 = rows[0].get(1);
    assert!(
        complete_until > held - 30.0 && complete_until < now(),
        "{complete_until}, held at {held}"
    );
    assert!(rows[0].get::<_, Option<i64>>(2).is_some());
    let missing = ledger.missing(&mut client);
    let all = ledger.acknowledged.lock().unwrap().clone();
    for number in missing {
        let at = all[&number].1;
        assert!(
            at >= complete_until,
            "{number}, acknowledged at {at}, is missing: {complete_until}"
        );
    }
    client.batch_execute("INSERT INTO t.entry (number) VALUES (-1)").unwrap();
}
