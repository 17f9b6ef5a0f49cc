//! Standbys of the coordinator, and a primary that was replaced by one: neither sends anything to nodes.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use helios_tests::{BOUND, Cluster, Stop, wait_until};
use postgres::Client;
use testkit::cluster::DATABASE;
use testkit::server::{Server, Shutdown};

/// Stops the server when dropped, whatever happens to the test.
struct Running<'a>(&'a Server);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.0.stop(Shutdown::Immediate);
    }
}

fn accounts(cluster: &Cluster) -> Client {
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA one DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE one.t (n bigint, c int); \
             CREATE SCHEMA two DISTRIBUTED ON NODE \"node-2\"; CREATE TABLE two.t (n bigint, c int); \
             CREATE SEQUENCE one.s; CREATE TABLE here (i int); INSERT INTO here VALUES (7); \
             CREATE FUNCTION one.f() RETURNS int LANGUAGE sql AS 'INSERT INTO one.t VALUES (0, 0) RETURNING 1'; \
             CREATE PROCEDURE one.p() LANGUAGE sql AS 'INSERT INTO one.t VALUES (0, 0)'",
        )
        .unwrap();
    client
}

/// Waits until the standby has replayed everything the primary has written.
fn in_step(primary: &mut Client, standby: &Server) {
    let at: String = primary.query_one("SELECT pg_current_wal_lsn()::text", &[]).unwrap().get(0);
    wait_until("the standby has followed", BOUND, || {
        let query = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn";
        let mut client = standby.connect(DATABASE).map_err(|error| error.to_string())?;
        let there: bool = client.query_one(query, &[&at]).unwrap().get(0);
        if there { Ok(()) } else { Err("it is behind".to_owned()) }
    });
}

#[test]
fn a_standby_of_the_coordinator_routes_nothing() {
    let cluster = Cluster::start(2);
    let mut client = accounts(&cluster);
    let (standby, _ports) = cluster.standby_of(cluster.coordinator());
    let _running = Running(&standby);
    in_step(&mut client, &standby);
    let mut there = standby.connect(DATABASE).unwrap();
    let address = format!("127.0.0.1:{}", cluster.coordinator().port);
    for sql in [
        "SELECT * FROM one.t",
        "SELECT one.f()",
        "SELECT nextval('one.s')",
        "SELECT setval('one.s', 5)",
        "CALL one.p()",
        "COPY one.t TO STDOUT",
        "COPY one.t FROM STDIN",
        "EXPLAIN SELECT * FROM one.t",
        "PREPARE p AS SELECT * FROM one.t; EXECUTE p",
        "BEGIN; DECLARE c CURSOR FOR SELECT * FROM one.t; FETCH c",
        "DO $$ BEGIN PERFORM * FROM one.t; END $$",
        "DO $$ DECLARE i int := one.f(); BEGIN END $$",
        "SELECT * FROM helios_recover_transactions()",
        "INSERT INTO one.t VALUES (1, 1)",
    ] {
        let error = there.simple_query(sql).map(|_| ()).expect_err(sql);
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "25006", "{sql}: {error:?}");
        // Errors that PostgreSQL raises by itself come first.
        let own = error.message().starts_with("cannot execute");
        let hint = error.hint().unwrap_or_default();
        assert!(own || hint.contains(&address), "{sql}: {error:?}");
        there.batch_execute("ROLLBACK").unwrap();
    }
    assert_eq!(there.query_one("SELECT i FROM here", &[]).unwrap().get::<_, i32>(0), 7);
    assert_eq!(client.query_one("SELECT count(*) FROM one.t", &[]).unwrap().get::<_, i64>(0), 0);
    cluster.coordinator().stop(Shutdown::Immediate).unwrap();
    there.query_one("SELECT pg_promote()", &[]).unwrap();
    // Once promoted, it is the coordinator.
    assert_eq!(there.query_one("SELECT one.f()", &[]).unwrap().get::<_, i32>(0), 1);
}

/// Adds a row to a table on each node until told to stop; the acknowledged numbers are the first `done`.
fn transfer(server: &Server, client: i32, over: &AtomicBool, done: &AtomicI64) {
    let mut connection = server.connect(DATABASE).unwrap();
    let mut n = 0;
    while !over.load(Ordering::Relaxed) {
        let both = format!(
            "BEGIN; INSERT INTO one.t VALUES ({n}, {client}); INSERT INTO two.t VALUES ({n}, {client}); COMMIT"
        );
        connection.batch_execute(&both).unwrap();
        n += 1;
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Asserts that every acknowledged transfer is on both nodes, and none on only one.
fn audit(cluster: &Cluster, acknowledged: i64) {
    let rows = |number: usize, schema: &str| -> Vec<(i64, i32)> {
        let query = format!("SELECT n, c FROM {schema}.t ORDER BY 1, 2");
        let rows = cluster.connect_to_node(number).query(&query, &[]).unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    };
    wait_until("nothing is prepared", BOUND, || {
        let left: Vec<i64> = [1, 2]
            .iter()
            .map(|&number| {
                let query = "SELECT count(*) FROM pg_prepared_xacts";
                cluster.connect_to_node(number).query_one(query, &[]).unwrap().get(0)
            })
            .collect();
        if left == [0, 0] { Ok(()) } else { Err(format!("{left:?}")) }
    });
    let (one, two) = (rows(1, "one"), rows(2, "two"));
    assert!(one == two, "{} rows on the one, {} on the other", one.len(), two.len());
    assert!(one.len() as i64 >= acknowledged, "{} of {acknowledged}", one.len());
}

/// Recovery by hand on a standby, and by the worker on the old primary, while the coordinator commits on two nodes.
#[test]
fn neither_a_standby_nor_an_old_primary_undoes_transactions() {
    let cluster = Cluster::with_settings(2, &["helios.recovery_interval = '200ms'"]);
    let mut client = accounts(&cluster);
    let (standby, _ports) = cluster.standby_of(cluster.coordinator());
    let _running = Running(&standby);
    in_step(&mut client, &standby);
    let load = |server: &Server, clients: [i32; 3], meanwhile: &mut dyn FnMut(&AtomicI64)| {
        let (over, done) = (AtomicBool::new(false), AtomicI64::new(0));
        std::thread::scope(|scope| {
            let stop = Stop(&over);
            for number in clients {
                let (over, done) = (&over, &done);
                scope.spawn(move || transfer(server, number, over, done));
            }
            meanwhile(&done);
            drop(stop);
        });
        done.into_inner()
    };
    let enough = |done: &AtomicI64, least: i64| {
        wait_until("transfers are made", BOUND, || {
            let made = done.load(Ordering::Relaxed);
            if made >= least { Ok(()) } else { Err(made.to_string()) }
        });
    };
    let first = load(cluster.coordinator(), [1, 2, 3], &mut |done| {
        let mut there = standby.connect(DATABASE).unwrap();
        for round in 1..=20 {
            let outcome = there.query("SELECT * FROM helios_recover_transactions()", &[]);
            assert_eq!(outcome.unwrap_err().code().unwrap().code(), "25006");
            enough(done, round * 5);
        }
    });
    audit(&cluster, first);
    in_step(&mut client, &standby);
    cluster.coordinator().stop(Shutdown::Immediate).unwrap();
    let mut new = standby.connect(DATABASE).unwrap();
    new.query_one("SELECT pg_promote()", &[]).unwrap();
    let second = load(&standby, [4, 5, 6], &mut |done| {
        enough(done, 10);
        cluster.coordinator().start().unwrap();
        let mut old = cluster.connect();
        for sql in ["SELECT * FROM one.t", "INSERT INTO two.t VALUES (-1, -1)", "SELECT one.f()"] {
            let error = old.simple_query(sql).map(|_| ()).expect_err(sql);
            let error = error.as_db_error().unwrap();
            assert_eq!(error.code().code(), "55000", "{sql}: {error:?}");
            assert!(error.hint().is_some_and(|hint| hint.contains("standby")), "{error:?}");
        }
        let by_hand = "SELECT action FROM helios_recover_transactions()";
        for row in old.query(by_hand, &[]).unwrap() {
            assert_eq!(row.get::<_, String>(0), "failed");
        }
        let made = done.load(Ordering::Relaxed);
        enough(done, made + 50);
        cluster.coordinator().stop(Shutdown::Immediate).unwrap();
    });
    // Only the promoted server completes what is left.
    audit(&cluster, first + second);
}

/// Transaction IDs of this server lost in a crash are reused, with other names on the nodes.
#[test]
fn names_of_transactions_are_never_given_twice() {
    let cluster = Cluster::with_settings(2, &["helios.recovery_interval = '1h'"]);
    accounts(&cluster);
    let mut epochs = Vec::new();
    for round in 0..3 {
        // Node 1 stops: what is prepared on node 2 stays prepared until the coordinator is gone.
        let mut client = helios_tests::Wire::connect(cluster.coordinator(), DATABASE);
        let begin = format!(
            "BEGIN; INSERT INTO one.t VALUES ({round}, 0); INSERT INTO two.t VALUES ({round}, 0)"
        );
        client.simple(&begin, None).unwrap();
        let frozen = crate::lost_nodes::Frozen::new(&cluster);
        client.send_simple("COMMIT").unwrap();
        let mut node = cluster.connect_to_node(2);
        let gid = wait_until("node 2 has prepared", BOUND, || {
            let query = "SELECT gid FROM pg_prepared_xacts";
            let row = node.query_opt(query, &[]).unwrap();
            row.map(|row| row.get::<_, String>(0)).ok_or_else(|| "nothing".to_owned())
        });
        let parts: Vec<&str> = gid.split('_').collect();
        assert_eq!(parts.len(), 6, "{gid}");
        epochs.push(parts[3].parse::<u128>().unwrap());
        cluster.coordinator().kill().unwrap();
        drop(frozen);
        cluster.coordinator().start().unwrap();
        // With the very IDs lost in the crash.
        let mut client = cluster.connect();
        for n in 0..5 {
            let both = format!(
                "BEGIN; INSERT INTO one.t VALUES ({n}, 1); INSERT INTO two.t VALUES ({n}, 1); COMMIT"
            );
            client.batch_execute(&both).unwrap();
        }
        let recover = "SELECT * FROM helios_recover_transactions()";
        wait_until("nothing is prepared", BOUND, || {
            client.query(recover, &[]).unwrap();
            let query = "SELECT count(*) FROM pg_prepared_xacts";
            let left: i64 = node.query_one(query, &[]).unwrap().get(0);
            if left == 0 { Ok(()) } else { Err(left.to_string()) }
        });
        let status: String =
            client.query_one("SELECT helios_transaction_status($1)", &[&gid]).unwrap().get(0);
        assert_eq!(status, "aborted", "{gid}");
    }
    assert!(epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
}
