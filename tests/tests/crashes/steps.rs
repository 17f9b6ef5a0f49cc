//! The steps of a transaction and their round trips: optimizations for transactions that need no second phase.

use helios_tests::{Cluster, Event, Proxy, Wire, backend};
use postgres::Client;
use testkit::cluster::DATABASE;

use crate::{add_to, settled, tables, values};

/// Runs `work` and returns the number of round trips to the node for its last statement.
fn trips(proxy: &Proxy, work: impl FnOnce()) -> usize {
    let before = proxy.round_trips();
    work();
    proxy.round_trips() - before
}

#[test]
fn shortcuts_take_one_round_trip() {
    let cluster = Cluster::with_failpoints(2, &[]);
    drop(tables(&cluster));
    let (first, second) = (Proxy::of_node(&cluster, 1), Proxy::of_node(&cluster, 2));
    let mut client = cluster.connect();
    client.batch_execute("SELECT * FROM one.t; SELECT * FROM two.t").unwrap();
    cluster.failpoint("prepare.before", "count", 0, 0);
    let step = |client: &mut Client, sql: &str| {
        let mut on_second = 0;
        let on_first = trips(&first, || {
            on_second = trips(&second, || client.batch_execute(sql).unwrap());
        });
        (on_first, on_second)
    };
    let update = "UPDATE one.t SET x = x + 1 WHERE id = 1";
    assert_eq!(step(&mut client, update), (1, 0), "alone in its transaction");
    assert_eq!(step(&mut client, &format!("BEGIN; {update}")), (1, 0), "BEGIN rides along");
    assert_eq!(step(&mut client, "COMMIT"), (1, 0), "one writer");
    // A second node that was only read is released in parallel.
    step(&mut client, &format!("BEGIN; {update}; SELECT * FROM two.t"));
    assert_eq!(step(&mut client, "COMMIT"), (1, 1), "one writer, one reader");
    step(&mut client, "BEGIN; SELECT * FROM one.t; SELECT * FROM two.t");
    assert_eq!(step(&mut client, "COMMIT"), (1, 1), "two readers");
    // Writes undone by a savepoint do not count.
    step(
        &mut client,
        &format!("BEGIN; {update}; SAVEPOINT a; UPDATE two.t SET x = 7; ROLLBACK TO a"),
    );
    assert_eq!(step(&mut client, "COMMIT"), (1, 1), "a writer that took it back");
    assert_eq!(cluster.failpoint_hits("prepare.before"), 0, "nothing was prepared");
    // Writes kept by a savepoint do.
    step(
        &mut client,
        &format!("BEGIN; {update}; SAVEPOINT a; UPDATE two.t SET x = x + 1; RELEASE a"),
    );
    assert_eq!(step(&mut client, "COMMIT"), (2, 2), "two writers: prepare, commit");
    assert_eq!(cluster.failpoint_hits("prepare.before"), 1);
    client.batch_execute(&add_to(&["one", "here"])).unwrap();
    assert_eq!(cluster.failpoint_hits("prepare.before"), 2, "one node and this server");
    assert_eq!(values(&mut client), [6, 1, 1]);
    settled(&cluster);
}

/// A write on this server undone by a savepoint does not count either, whatever comes after it.
#[test]
fn local_writes_that_savepoints_took_back_cost_nothing() {
    let cluster = Cluster::with_failpoints(2, &[]);
    let mut client = tables(&cluster);
    client.batch_execute("CREATE TABLE here.log (x int)").unwrap();
    cluster.failpoint("prepare.before", "count", 0, 0);
    let one = "UPDATE one.t SET x = x + 1 WHERE id = 1";
    let here = "INSERT INTO here.log VALUES (1)";
    let caught = format!(
        "DO $$ BEGIN {here}; RAISE EXCEPTION 'no'; EXCEPTION WHEN raise_exception THEN NULL; END $$"
    );
    let mut prepared = 0;
    for (work, is_prepared) in [
        (format!("{one}; SAVEPOINT a; {here}; ROLLBACK TO a"), false),
        (format!("SAVEPOINT a; {here}; ROLLBACK TO a; {one}; RELEASE a"), false),
        (format!("SAVEPOINT a; SAVEPOINT b; {here}; RELEASE b; ROLLBACK TO a; {one}"), false),
        (format!("{caught}; {one}; {caught}"), false),
        (format!("SAVEPOINT a; {here}; ROLLBACK TO a; {one}; {here}"), true),
        (
            format!("SAVEPOINT a; {here}; ROLLBACK TO a; SAVEPOINT b; {here}; RELEASE b; {one}"),
            true,
        ),
        (format!("{here}; SAVEPOINT a; {here}; ROLLBACK TO a; {one}"), true),
        (
            format!("SAVEPOINT a; {here}; SAVEPOINT b; {here}; ROLLBACK TO b; RELEASE a; {one}"),
            true,
        ),
        (format!("{caught}; {one}; {here}"), true),
    ] {
        client.batch_execute(&format!("BEGIN; {work}; COMMIT")).unwrap();
        prepared += i64::from(is_prepared);
        assert_eq!(cluster.failpoint_hits("prepare.before"), prepared, "{work}");
    }
    assert_eq!(values(&mut client)[0], 9);
    let rows: i64 = client.query_one("SELECT count(*) FROM here.log", &[]).unwrap().get(0);
    assert_eq!(rows, 5);
    settled(&cluster);
}

#[test]
fn deferred_constraints_fail_before_anything_is_prepared_or_committed() {
    let cluster = Cluster::with_failpoints(2, &[]);
    let mut client = tables(&cluster);
    let table = "(i int, CONSTRAINT twice UNIQUE (i) DEFERRABLE INITIALLY DEFERRED)";
    for schema in ["one", "two", "here"] {
        client.batch_execute(&format!("CREATE TABLE {schema}.late {table}")).unwrap();
    }
    cluster.failpoint("prepare.before", "count", 0, 0);
    cluster.failpoint("prepare.after", "count", 0, 0);
    cluster.failpoint("commit.after", "count", 0, 0);
    let mut refused = |broken: &str, touched: &[&str]| {
        let work = add_to(touched);
        let work = work.strip_suffix("COMMIT").unwrap();
        let sql = format!("{work} INSERT INTO {broken}.late VALUES (1), (1); COMMIT");
        let error = client.batch_execute(&sql).unwrap_err();
        assert_eq!(error.as_db_error().unwrap().constraint(), Some("twice"), "{broken}: {error:?}");
        client.batch_execute("ROLLBACK").unwrap();
    };
    refused("here", &["one", "two"]);
    assert_eq!(cluster.failpoint_hits("prepare.before"), 0, "this server's own come first");
    refused("here", &["one"]);
    refused("one", &[]);
    refused("one", &["two", "here"]);
    refused("two", &["one"]);
    assert_eq!(cluster.failpoint_hits("prepare.after"), 0);
    assert_eq!(cluster.failpoint_hits("commit.after"), 0);
    assert_eq!(values(&mut client), [0, 0, 0]);
    settled(&cluster);
}

#[test]
fn names_carry_cluster_database_epoch_and_transaction() {
    let cluster = Cluster::with_failpoints(2, &[]);
    let mut client = tables(&cluster);
    let query = "SELECT format('helios_%s_%s', c.id, d.oid) FROM helios.cluster c, pg_database d \
                 WHERE datname = current_database()";
    let prefix: String = client.query_one(query, &[]).unwrap().get(0);
    let pid = backend(&mut client).as_raw_nonzero().get();
    cluster.failpoint("record.after", "hang", 0, pid);
    std::thread::scope(|scope| {
        let committed = scope.spawn(|| {
            let id = "SELECT pg_current_xact_id()::text";
            client.batch_execute("BEGIN; UPDATE one.t SET x = 1; UPDATE two.t SET x = 1").unwrap();
            let id: String = client.query_one(id, &[]).unwrap().get(0);
            client.batch_execute("COMMIT").unwrap();
            id
        });
        cluster.wait_for_failpoint("record.after", crate::RECOVERED);
        let mut other = cluster.connect();
        let query = "SELECT gid, node, state, age < interval '1 minute', error IS NULL \
                     FROM helios_transactions ORDER BY gid";
        let rows = other.query(query, &[]).unwrap();
        let nodes: Vec<String> = rows.iter().map(|row| row.get(1)).collect();
        assert_eq!(nodes, ["node-1", "node-2"]);
        for (n, row) in (1..).zip(&rows) {
            let gid: String = row.get(0);
            let epoch = gid.strip_prefix(&format!("{prefix}_")).unwrap().split('_').next();
            assert!(epoch.unwrap().parse::<u128>().unwrap() > 0, "{gid}");
            assert!(gid.ends_with(&format!("_{n}")), "{gid}");
            assert_eq!(row.get::<_, String>(2), "in progress");
            assert!(row.get::<_, bool>(3) && row.get::<_, bool>(4));
            let status = "SELECT helios_transaction_status($1)";
            assert_eq!(
                other.query_one(status, &[&gid]).unwrap().get::<_, String>(0),
                "in progress"
            );
        }
        // Recovery leaves transactions in progress alone.
        assert!(
            other.query("SELECT * FROM helios_recover_transactions()", &[]).unwrap().is_empty()
        );
        cluster.failpoint("record.after", "off", 0, 0);
        let id = committed.join().unwrap();
        for (n, row) in (1..).zip(&rows) {
            let gid: String = row.get(0);
            assert!(gid.ends_with(&format!("_{id}_{n}")), "{gid}");
            let status = "SELECT helios_transaction_status($1)";
            let status: String = other.query_one(status, &[&gid]).unwrap().get(0);
            assert_eq!(status, "committed");
        }
    });
    assert_eq!(values(&mut client), [1, 1, 0]);
    settled(&cluster);
}

#[test]
fn a_step_that_hangs_can_be_cancelled_before_the_decision() {
    let cluster = Cluster::with_failpoints(2, &[]);
    let mut client = tables(&cluster);
    for (place, work) in [
        ("connect.before", add_to(&["one"])),
        ("commit.before", add_to(&["one"])),
        ("release.before", "BEGIN; TABLE one.t; COMMIT".to_owned()),
        ("prepare.before", add_to(&["one", "two"])),
        ("prepare.next", add_to(&["one", "two"])),
        ("definition.local", "BEGIN; CREATE TABLE one.never (); COMMIT".to_owned()),
    ] {
        let mut wire = Wire::connect(cluster.coordinator(), DATABASE);
        cluster.failpoint(place, "hang", 0, wire.pid);
        wire.send_simple(&work).unwrap();
        cluster.wait_for_failpoint(place, crate::RECOVERED);
        wire.cancel(cluster.coordinator()).unwrap();
        let events = wire.until_ready(None).unwrap();
        let cancelled = events.iter().any(|event| event.field('C') == Some("57014"));
        assert!(cancelled, "{place}: {events:?}");
        cluster.failpoint(place, "off", 0, 0);
        // The session continues.
        let events = wire.simple("ROLLBACK; SELECT count(*) FROM one.t", None).unwrap();
        let counted = events.contains(&Event::Row(vec![Some(b"10".to_vec())]));
        assert!(counted, "{place}: {events:?}");
    }
    settled(&cluster);
    assert_eq!(values(&mut client), [0, 0, 0]);
    let made = "SELECT to_regclass('one.never') IS NOT NULL";
    assert!(!client.query_one(made, &[]).unwrap().get::<_, bool>(0));
}
