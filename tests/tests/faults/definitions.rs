//! DDL takes effect here and on the node, or on neither, wherever a server is killed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use helios_tests::{BOUND, Cluster, Event, wait_until};
use testkit::cluster::DATABASE;

use crate::{cluster_with_table, wire};

/// Tables of a schema with their columns, on this server.
fn tables(client: &mut postgres::Client, schema: &str) -> Vec<String> {
    let query = "SELECT c.relname || ' ' || string_agg(a.attname || ' ' || a.atttypid::regtype, \
                 ', ' ORDER BY a.attnum) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
                 WHERE c.relnamespace = $1::text::regnamespace AND a.attnum > 0 \
                 AND NOT a.attisdropped AND c.relkind = 'r' GROUP BY c.relname ORDER BY 1";
    client.query(query, &[&schema]).unwrap().iter().map(|row| row.get(0)).collect()
}

/// Asserts that both servers have the same definitions once nothing is in progress.
fn agreed(cluster: &Cluster, schema: &str) -> Vec<String> {
    wait_until("no prepared transaction is left", BOUND, || {
        let query = "SELECT gid FROM pg_prepared_xacts";
        let rows = cluster.connect_to_node(1).query(query, &[]).unwrap();
        if rows.is_empty() { Ok(()) } else { Err(format!("{} on the node", rows.len())) }
    });
    let here = tables(&mut cluster.connect(), schema);
    assert_eq!(here, tables(&mut cluster.connect_to_node(1), schema), "here and on the node");
    here
}

#[test]
fn failed_definitions_leave_nothing_on_either_server() {
    let (cluster, mut client) = cluster_with_table("d");
    let before = agreed(&cluster, "d");
    for script in [
        "CREATE TABLE d.a (x int); SELECT 1/0",
        "BEGIN; CREATE TABLE d.a (x int); ALTER TABLE d.t ADD y int; ROLLBACK",
        "CREATE TABLE d.a (x int); CREATE TABLE d.a (x int)",
        // Fails on the node only: the shell has no rows that could be null.
        "ALTER TABLE d.t ADD COLUMN y int NOT NULL",
        "ALTER TABLE d.t ADD COLUMN y int CHECK (x < 10)",
        "BEGIN; DROP TABLE d.t; SELECT 1/0; COMMIT",
        "DO $$ BEGIN CREATE TABLE d.b (x int); RAISE 'no'; END $$",
    ] {
        // Some end with an error, some without; none may leave anything behind.
        let _ = client.batch_execute(script);
        client.batch_execute("ROLLBACK").unwrap();
        assert_eq!(agreed(&cluster, "d"), before, "{script}");
    }
}

#[test]
fn node_killed_before_the_commit_of_a_definition() {
    let (cluster, mut client) = cluster_with_table("d");
    let before = agreed(&cluster, "d");
    client.batch_execute("BEGIN; CREATE TABLE d.lost (x int); ALTER TABLE d.t ADD y int").unwrap();
    cluster.kill_node(1);
    client.batch_execute("COMMIT").unwrap_err();
    client.batch_execute("ROLLBACK").unwrap();
    cluster.start_node(1);
    assert_eq!(agreed(&cluster, "d"), before);
    client.batch_execute("CREATE TABLE d.later (x int)").unwrap();
    assert_eq!(agreed(&cluster, "d").len(), before.len() + 1);
}

/// Kills a server repeatedly, at arbitrary moments of a stream of DDL statements, each of which creates
/// a table and a column. Acknowledged objects are present on both; objects present are on both.
fn killed_at_any_moment(schema: &str, kill: impl Fn(&Cluster) + Sync) {
    let (cluster, _client) = cluster_with_table(schema);
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        let (running, count) = (AtomicBool::new(true), AtomicUsize::new(0));
        let mut wire = wire(&cluster);
        std::thread::scope(|scope| {
            let (running, count) = (&running, &count);
            let stream = scope.spawn(move || {
                let mut done = Vec::new();
                for i in 0.. {
                    let name = format!("r{round}_{i}");
                    let sql = format!("CREATE TABLE {schema}.{name} (x int, y text)");
                    match wire.simple(&sql, None) {
                        Ok(events) if !events.iter().any(|e| matches!(e, Event::Error(_))) => {
                            done.push(name);
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        _ => break,
                    }
                    if !running.load(Ordering::Relaxed) {
                        break;
                    }
                }
                done
            });
            wait_until("some definitions are made", BOUND, || {
                let made = count.load(Ordering::Relaxed);
                if made > 3 { Ok(()) } else { Err(format!("{made}")) }
            });
            // At another moment of a statement in each round.
            std::thread::sleep(Duration::from_millis(7 * round));
            kill(&cluster);
            running.store(false, Ordering::Relaxed);
            acknowledged.extend(stream.join().unwrap());
        });
        for server in [cluster.coordinator(), cluster.node(1)] {
            server.start().unwrap();
            server.connect(DATABASE).unwrap();
        }
        let there = agreed(&cluster, schema);
        for name in &acknowledged {
            let found = there.iter().any(|table| table.starts_with(&format!("{name} ")));
            assert!(found, "{name} was acknowledged and is gone: {there:?}");
        }
    }
}

#[test]
fn node_killed_at_any_moment_of_definitions() {
    killed_at_any_moment("dn", |cluster| cluster.kill_node(1));
}

#[test]
fn coordinator_killed_at_any_moment_of_definitions() {
    killed_at_any_moment("dc", |cluster| cluster.coordinator().kill().unwrap());
}

#[test]
fn schema_itself_is_made_and_dropped_on_both_or_neither() {
    let (cluster, mut client) = cluster_with_table("d");
    client
        .batch_execute("BEGIN; CREATE SCHEMA gone DISTRIBUTED; CREATE TABLE gone.t (x int)")
        .unwrap();
    client.batch_execute("INSERT INTO gone.t VALUES (1); ROLLBACK").unwrap();
    client.batch_execute("BEGIN; DROP SCHEMA d CASCADE; ROLLBACK").unwrap();
    let exists = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('gone', 'd')";
    for client in [&mut client, &mut cluster.connect_to_node(1)] {
        let count: i64 = client.query_one(exists, &[]).unwrap().get(0);
        assert_eq!(count, 1);
    }
    let rows: i64 = client.query_one("SELECT count(*) FROM d.t", &[]).unwrap().get(0);
    assert_eq!(rows, 1000);
    client.batch_execute("BEGIN; DROP SCHEMA d CASCADE").unwrap();
    cluster.kill_node(1);
    client.batch_execute("COMMIT").unwrap_err();
    cluster.start_node(1);
    client.batch_execute("ROLLBACK").unwrap();
    let rows: i64 = client.query_one("SELECT count(*) FROM d.t", &[]).unwrap().get(0);
    assert_eq!(rows, 1000);
}
