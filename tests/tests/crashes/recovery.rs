//! The recovery worker, and manual recovery.

use std::time::{Duration, Instant};

use helios_tests::{Cluster, Wire, wait_until};
use testkit::cluster::DATABASE;
use testkit::server::HOST;

use crate::{add_to, prepared, settled, tables, values};

/// Runs a transaction on both nodes and this server that is committed here and left prepared there.
fn leave_committed(cluster: &Cluster, database: &str) {
    let mut wire = Wire::connect(cluster.coordinator(), database);
    wire.simple("SELECT 1 FROM one.t; SELECT 1 FROM two.t", None).unwrap();
    cluster.failpoint("commit_prepared.before", "error", 1, wire.pid);
    let events = wire.simple(&add_to(&["one", "two", "here"]), None).unwrap();
    let text = format!("{events:?}");
    assert!(text.contains("WARNING") && text.contains("commit_prepared.before"), "{text}");
}

/// Likewise, one that is prepared there and rolled back here.
fn leave_aborted(cluster: &Cluster) {
    let mut wire = Wire::connect(cluster.coordinator(), DATABASE);
    wire.simple("SELECT 1 FROM one.t; SELECT 1 FROM two.t", None).unwrap();
    cluster.failpoint("record.after", "error", 1, wire.pid);
    cluster.failpoint("rollback_prepared.before", "error", 0, wire.pid);
    let row = "UPDATE one.t SET x = 50 WHERE id = 2; UPDATE two.t SET x = 50 WHERE id = 2";
    wire.simple(&format!("BEGIN; {row}; COMMIT"), None).unwrap();
    cluster.failpoint("rollback_prepared.before", "off", 0, 0);
}

#[test]
fn recovery_by_hand_tells_what_it_did() {
    let cluster = Cluster::with_failpoints(2, &["helios.recovery_interval = '1h'"]);
    let mut client = tables(&cluster);
    leave_committed(&cluster, DATABASE);
    leave_aborted(&cluster);
    let states = "SELECT state, node FROM helios_transactions ORDER BY state, node";
    let rows = client.query(states, &[]).unwrap();
    let shown: Vec<(String, String)> = rows.iter().map(|r| (r.get(0), r.get(1))).collect();
    let expected = [
        ("aborted", "node-1"),
        ("aborted", "node-2"),
        ("committed", "node-1"),
        ("committed", "node-2"),
    ];
    assert_eq!(shown, expected.map(|(state, node)| (state.to_owned(), node.to_owned())));
    // What cannot be queried is shown with its last known state.
    cluster.kill_node(2);
    let query = "SELECT bool_and(state = 'committed' AND error IS NOT NULL), count(*) > 0 \
                 FROM helios_transactions WHERE node = 'node-2'";
    let row = client.query_one(query, &[]).unwrap();
    assert!(row.get::<_, Option<bool>>(0) == Some(true) && row.get::<_, bool>(1));
    let recover = "SELECT node, action, gid IS NULL, error IS NULL FROM helios_recover_transactions() \
                   ORDER BY node, action";
    let mut run = || -> Vec<(String, String, bool, bool)> {
        let rows = client.query(recover, &[]).unwrap();
        rows.iter().map(|r| (r.get(0), r.get(1), r.get(2), r.get(3))).collect()
    };
    let done = |node: &str, action: &str| (node.to_owned(), action.to_owned(), false, true);
    let failed = ("node-2".to_owned(), "failed".to_owned(), true, false);
    assert_eq!(run(), [done("node-1", "committed"), done("node-1", "rolled back"), failed]);
    cluster.start_node(2);
    assert_eq!(run(), [done("node-2", "committed"), done("node-2", "rolled back")]);
    assert_eq!(run(), []);
    assert_eq!(values(&mut client), [1, 1, 1]);
    settled(&cluster);
    let forbidden =
        "CREATE ROLE nobody_special LOGIN; GRANT USAGE ON SCHEMA public TO nobody_special";
    client.batch_execute(forbidden).unwrap();
    let mut other = cluster.connect_as("nobody_special");
    for sql in ["SELECT * FROM helios_recover_transactions()", "SELECT * FROM helios_transactions"]
    {
        let error = other.query(sql, &[]).unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{sql}");
    }
}

/// With default settings.
#[test]
fn a_node_that_returns_is_recovered_within_ten_seconds() {
    let cluster = Cluster::with_failpoints(2, &[]);
    let mut client = tables(&cluster);
    let mut wire = Wire::connect(cluster.coordinator(), DATABASE);
    cluster.failpoint("commit_prepared.before", "hang", 0, wire.pid);
    wire.send_simple(&add_to(&["one", "two", "here"])).unwrap();
    cluster.wait_for_failpoint("commit_prepared.before", crate::RECOVERED);
    cluster.kill_node(1);
    cluster.failpoint("commit_prepared.before", "off", 0, 0);
    let events = wire.until_ready(None).unwrap();
    let text = format!("{events:?}");
    assert!(text.contains("WARNING") && text.contains("Complete(\"COMMIT\")"), "{text}");
    // The other node is not blocked, and rows that are not in doubt are usable.
    let x: i32 = client.query_one("SELECT x FROM two.t WHERE id = 1", &[]).unwrap().get(0);
    assert_eq!(x, 1);
    cluster.start_node(1);
    // What is not locked does not wait.
    let update = "SET lock_timeout = '500ms'; UPDATE one.t SET x = x + 10 WHERE id = 2";
    client.batch_execute(&format!("{update}; RESET lock_timeout; SELECT * FROM one.t")).unwrap();
    wait_until("the node has committed its part", Duration::from_secs(10), || {
        let left = prepared(&cluster);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    assert_eq!(values(&mut client), [1, 1, 1]);
    settled(&cluster);
}

/// A transaction in doubt holds its locks on its node, and nothing else: everything else continues there.
#[test]
fn nodes_refuse_nothing_in_doubt_but_what_is_locked() {
    let cluster = Cluster::with_failpoints(2, &["helios.recovery_interval = '1h'"]);
    let mut client = tables(&cluster);
    leave_committed(&cluster, DATABASE);
    leave_aborted(&cluster);
    client.batch_execute("SET lock_timeout = '300ms'").unwrap();
    for free in [
        "SELECT * FROM one.t ORDER BY id",
        "SELECT * FROM one.t JOIN one.t u USING (id)",
        "UPDATE one.t SET x = 7 WHERE id > 2",
        "DELETE FROM one.t WHERE id = 10",
        "INSERT INTO one.t VALUES (11, 1)",
        "CREATE TABLE one.more (i int); INSERT INTO one.more VALUES (1)",
        "CREATE INDEX ON one.more (i); DROP TABLE one.more",
        "BEGIN; UPDATE one.t SET x = 8 WHERE id = 3; UPDATE two.t SET x = 8 WHERE id = 3; COMMIT",
    ] {
        client.batch_execute(free).unwrap_or_else(|error| panic!("{free}: {error}"));
    }
    for locked in [
        "UPDATE one.t SET x = 9 WHERE id = 1",
        "SELECT * FROM two.t WHERE id = 2 FOR UPDATE",
        "ALTER TABLE one.t ADD COLUMN y int",
        "TRUNCATE two.t",
    ] {
        let error = client.batch_execute(locked).unwrap_err();
        assert_eq!(error.code().unwrap().code(), "55P03", "{locked}: {error}");
    }
    client.query("SELECT * FROM helios_recover_transactions()", &[]).unwrap();
    client.batch_execute("UPDATE one.t SET x = x + 1 WHERE id = 1; TRUNCATE two.t").unwrap();
    let x: i32 = client.query_one("SELECT x FROM one.t WHERE id = 1", &[]).unwrap().get(0);
    assert_eq!(x, 2, "the one that was committed came through");
    client.query("SELECT * FROM helios_recover_transactions()", &[]).unwrap(); // the worker does not run here
    settled(&cluster);
}

#[test]
fn databases_of_one_server_are_recovered_each_by_its_own() {
    let cluster = Cluster::with_failpoints(2, &["helios.recovery_interval = '500ms'"]);
    drop(tables(&cluster));
    for server in cluster.nodes().iter().chain([cluster.coordinator()]) {
        server.connect("postgres").unwrap().batch_execute("CREATE DATABASE second").unwrap();
        server.connect("second").unwrap().batch_execute("CREATE EXTENSION helios").unwrap();
    }
    let mut second = cluster.coordinator().connect("second").unwrap();
    for (number, schema) in [(1, "one"), (2, "two")] {
        let port = cluster.node(number).port;
        second
            .batch_execute(&format!(
                "SELECT helios_add_node('node-{number}', '{HOST}', {port}, 'second'); \
                 CREATE SCHEMA {schema} DISTRIBUTED ON NODE \"node-{number}\"; \
                 CREATE TABLE {schema}.t (id int PRIMARY KEY, x int NOT NULL DEFAULT 0); \
                 INSERT INTO {schema}.t SELECT generate_series(1, 10)"
            ))
            .unwrap();
    }
    second
        .batch_execute("CREATE SCHEMA here; CREATE TABLE here.t AS SELECT 1 AS id, 0 AS x")
        .unwrap();
    leave_committed(&cluster, DATABASE);
    leave_committed(&cluster, "second");
    settled(&cluster);
    wait_until("the second database has no record left", crate::RECOVERED, || {
        let query = "SELECT count(*) FROM helios.transaction";
        let records: i64 = second.query_one(query, &[]).unwrap().get(0);
        if records == 0 { Ok(()) } else { Err(records.to_string()) }
    });
    assert_eq!(values(&mut cluster.connect()), [1, 1, 1]);
    assert_eq!(values(&mut second), [1, 1, 1]);
}

/// With the client's `synchronous_commit = off`, a crash may lose the last commits, but not half of one.
#[test]
fn asynchronous_commit_does_not_tear_a_transaction() {
    let cluster = Cluster::with_failpoints(2, &["helios.recovery_interval = '500ms'"]);
    drop(tables(&cluster));
    for round in 1..=3 {
        let mut wire = Wire::connect(cluster.coordinator(), DATABASE);
        wire.simple("SET synchronous_commit = off; SELECT 1 FROM one.t, here.t", None).unwrap();
        cluster.failpoint("commit_prepared.next", "hang", 0, wire.pid);
        wire.send_simple(&add_to(&["one", "two", "here"])).unwrap();
        cluster.wait_for_failpoint("commit_prepared.next", crate::RECOVERED);
        cluster.coordinator().kill().unwrap();
        cluster.coordinator().start().unwrap();
        settled(&cluster);
        assert_eq!(values(&mut cluster.connect()), [round; 3]);
    }
}

/// `HELIOS_TRANSACTIONS` sets the number of transactions.
#[test]
fn records_do_not_pile_up() {
    let total: u32 = std::env::var("HELIOS_TRANSACTIONS")
        .map_or(3_000, |text| text.parse().expect("HELIOS_TRANSACTIONS is a number"));
    let cluster = Cluster::with_failpoints(2, &["helios.recovery_interval = '1s'"]);
    let mut client = tables(&cluster);
    let size =
        "SELECT count(*), pg_total_relation_size('helios.transaction') FROM helios.transaction";
    let start = Instant::now();
    let mut most = (0, 0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (1..=4)
            .map(|id| {
                let mut client = cluster.connect();
                scope.spawn(move || {
                    let sql = format!(
                        "BEGIN; UPDATE one.t SET x = x + 1 WHERE id = {id}; \
                         UPDATE two.t SET x = x + 1 WHERE id = {id}; COMMIT"
                    );
                    for _ in 0..total / 4 {
                        client.batch_execute(&sql).unwrap();
                    }
                })
            })
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::sleep(Duration::from_millis(200));
            let row = client.query_one(size, &[]).unwrap();
            let now: (i64, i64) = (row.get(0), row.get(1));
            most = (most.0.max(now.0), most.1.max(now.1));
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    settled(&cluster);
    let bytes: i64 = client.query_one(size, &[]).unwrap().get(1);
    println!(
        "{total} transactions in {seconds:.1} s: at most {} records and {} kB, {} kB at the end",
        most.0,
        most.1 / 1024,
        bytes / 1024
    );
    // What remains after a few rounds of the worker and of autovacuum, however many transactions there were.
    assert!(most.0 < 40_000, "{} records", most.0);
    assert!(bytes < 32 << 20, "{bytes} bytes");
}
