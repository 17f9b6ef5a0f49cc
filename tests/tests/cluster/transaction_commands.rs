//! PREPARE TRANSACTION, isolation levels and DEFERRABLE as users write them.

use std::time::Duration;

use helios_tests::{Cluster, wait_until};
use postgres::Client;

const BOUND: Duration = Duration::from_secs(30);

/// Schemas `one`, `two` (on the nodes of these numbers) and `here`, each with `t (x int)`, one row: 0.
fn tables(cluster: &Cluster) -> Client {
    let mut client = cluster.connect();
    for (schema, place) in [
        ("one", "DISTRIBUTED ON NODE \"node-1\""),
        ("two", "DISTRIBUTED ON NODE \"node-2\""),
        ("here", ""),
    ] {
        let script = format!(
            "CREATE SCHEMA {schema} {place}; CREATE TABLE {schema}.t (x int); \
             INSERT INTO {schema}.t VALUES (0)"
        );
        client.batch_execute(&script).unwrap();
    }
    client
}

fn values(client: &mut Client) -> [i32; 3] {
    ["one", "two", "here"]
        .map(|schema| client.query_one(&format!("SELECT x FROM {schema}.t"), &[]).unwrap().get(0))
}

fn prepared(client: &mut Client) -> Vec<String> {
    let rows = client.query("SELECT gid FROM pg_prepared_xacts ORDER BY 1", &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[track_caller]
fn code(result: Result<(), postgres::Error>) -> String {
    result.unwrap_err().code().unwrap().code().to_owned()
}

#[test]
fn users_can_prepare_transactions_on_any_nodes() {
    let cluster = Cluster::with_settings(2, &["helios.recovery_interval = '200ms'"]);
    let mut client = tables(&cluster);
    let mut other = cluster.connect();
    let add = |schemas: &[&str]| {
        let updates = schemas.iter().map(|s| format!("UPDATE {s}.t SET x = x + 1;"));
        updates.collect::<String>()
    };
    for (schemas, after) in [
        (vec!["one"], [1, 0, 0]),
        (vec!["one", "two"], [2, 1, 0]),
        (vec!["one", "two", "here"], [3, 2, 1]),
        (vec!["two", "here"], [3, 3, 2]),
    ] {
        let work = add(&schemas);
        for end in ["ROLLBACK", "COMMIT"] {
            let before = values(&mut other);
            client.batch_execute(&format!("BEGIN; {work} PREPARE TRANSACTION 'it''s'")).unwrap();
            assert_eq!(values(&mut client), before, "{schemas:?}");
            assert_eq!(prepared(&mut other), ["it's"]);
            other.batch_execute(&format!("{end} PREPARED 'it''s'")).unwrap();
            // It has been done on the nodes when the command returns.
            for number in [1, 2] {
                assert!(prepared(&mut cluster.connect_to_node(number)).is_empty(), "{schemas:?}");
            }
            assert_eq!(values(&mut client), if end == "COMMIT" { after } else { before });
        }
        assert_eq!(code(other.batch_execute("COMMIT PREPARED 'it''s'")), "42704");
    }
    // DDL, and transactions that only read.
    client
        .batch_execute("BEGIN; CREATE TABLE one.made (i int); PREPARE TRANSACTION 'definition'")
        .unwrap();
    other.batch_execute("COMMIT PREPARED 'definition'").unwrap();
    other.batch_execute("INSERT INTO one.made VALUES (1)").unwrap();
    client.batch_execute("BEGIN; TABLE one.t; TABLE two.t; PREPARE TRANSACTION 'read'").unwrap();
    other.batch_execute("ROLLBACK PREPARED 'read'").unwrap();
    // Violates a constraint.
    client
        .batch_execute("CREATE TABLE two.late (i int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        .unwrap();
    let refused = "BEGIN; UPDATE one.t SET x = 100; INSERT INTO two.late VALUES (1), (1); \
                   PREPARE TRANSACTION 'refused'";
    assert_eq!(code(client.batch_execute(refused)), "23505");
    client.batch_execute("ROLLBACK").unwrap();
    assert!(prepared(&mut other).is_empty());
    assert_eq!(values(&mut other), [3, 3, 2]);
}

#[test]
fn what_a_user_prepared_survives_restarts_and_waits() {
    let cluster = Cluster::with_settings(2, &["helios.recovery_interval = '200ms'"]);
    let mut client = tables(&cluster);
    let add =
        "UPDATE one.t SET x = x + 1; UPDATE two.t SET x = x + 1; UPDATE here.t SET x = x + 1;";
    client.batch_execute(&format!("BEGIN; {add} PREPARE TRANSACTION 'mine'")).unwrap();
    for server in cluster.nodes().iter().chain([cluster.coordinator()]) {
        server.kill().unwrap();
        server.start().unwrap();
    }
    let mut client = cluster.connect();
    let query = "SELECT count(*) FROM helios_transactions WHERE state = 'in progress'";
    assert_eq!(client.query_one(query, &[]).unwrap().get::<_, i64>(0), 2);
    client.query("SELECT * FROM helios_recover_transactions()", &[]).unwrap();
    for number in [1, 2] {
        assert_eq!(
            prepared(&mut cluster.connect_to_node(number)).len(),
            1,
            "it waits for its user"
        );
    }
    // The decision is made even if a node is down; the worker carries it out there later.
    cluster.kill_node(1);
    client.batch_execute("COMMIT PREPARED 'mine'").unwrap();
    cluster.start_node(1);
    wait_until("the node has followed", BOUND, || {
        let left = prepared(&mut cluster.connect_to_node(1));
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    assert_eq!(values(&mut client), [1, 1, 1]);
}

#[test]
fn isolation_and_access_follow_settings_and_commands() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect();
    for (schema, number) in [("iso1", 1), ("iso2", 2)] {
        let script = format!(
            "CREATE SCHEMA {schema} DISTRIBUTED ON NODE \"node-{number}\"; \
             CREATE TABLE {schema}.t (x int); INSERT INTO {schema}.t VALUES (0)"
        );
        client.batch_execute(&script).unwrap();
    }
    let properties = "SELECT concat_ws(', ', current_setting('transaction_isolation'), \
                      current_setting('transaction_read_only'), \
                      current_setting('transaction_deferrable')) FROM iso1.t";
    let mut seen = |before: &str| -> String {
        // One by one, since a multi-statement string is one transaction.
        before.split("; ").for_each(|sql| client.batch_execute(sql).unwrap());
        let text = client.query_one(properties, &[]).unwrap().get(0);
        client.batch_execute("ROLLBACK; RESET ALL").unwrap();
        text
    };
    for (before, expected) in [
        ("", "read committed, off, off"),
        ("SET default_transaction_isolation = 'repeatable read'", "repeatable read, off, off"),
        ("SET default_transaction_isolation = 'serializable'; BEGIN", "serializable, off, off"),
        ("SET default_transaction_read_only = on", "read committed, on, off"),
        ("BEGIN; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "serializable, off, off"),
        (
            "BEGIN; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE",
            "serializable, on, on",
        ),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE", "serializable, on, on"),
        (
            "SET default_transaction_isolation = 'serializable'; SET default_transaction_read_only = on; \
             SET default_transaction_deferrable = on",
            "serializable, on, on",
        ),
    ] {
        assert_eq!(seen(before), expected, "{before}");
    }
    client.batch_execute("SET default_transaction_read_only = on").unwrap();
    assert_eq!(code(client.batch_execute("UPDATE iso1.t SET x = 1")), "25006");
    client.batch_execute("RESET ALL").unwrap();
    // Two nodes do not share one snapshot.
    let script =
        "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE; TABLE iso1.t; TABLE iso2.t";
    let error = client.batch_execute(script).unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "0A000", "{error:?}");
    assert!(error.hint().is_some() && error.detail().unwrap().contains("node-2"), "{error:?}");
    client
        .batch_execute(
            "ROLLBACK; BEGIN ISOLATION LEVEL SERIALIZABLE; TABLE iso1.t; TABLE iso2.t; COMMIT",
        )
        .unwrap();
}
