//! A copy that differs is detected before it is used, and on request at any time.

use helios_tests::{BOUND, Cluster, wait_until};
use postgres::Client;

use crate::{SETTINGS, assert_clean, begin, finish, roll_back, shown, switch, text, wait};

const TENANT: &str = "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; \
    CREATE TABLE t.a (id int PRIMARY KEY, v text); INSERT INTO t.a SELECT i, 'v' FROM generate_series(1, 5000) i; \
    CREATE TABLE t.nokey (x int, j json); INSERT INTO t.nokey SELECT i, '{}' FROM generate_series(1, 100) i;";

fn tenant() -> (Cluster, Client) {
    let cluster = Cluster::with_settings(2, &SETTINGS);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    (cluster, client)
}

/// Differences that can be made only with the migration's own privileges.
const DAMAGE: &str = "SET helios.migration_session = on; UPDATE t.a SET v = 'other' WHERE id = 7; DELETE FROM t.a WHERE id = 8; \
    INSERT INTO t.a VALUES (9000, 'extra'); INSERT INTO t.nokey SELECT * FROM t.nokey WHERE x = 5";

#[track_caller]
fn assert_named(client: &mut Client) {
    let found = text(
        client,
        "SELECT \"table\", kind, key FROM helios_mismatches ORDER BY \"table\", kind, key",
    );
    let all = found.join("\n");
    assert_eq!(found.len(), 4, "{all}");
    for (table, kind, key) in [
        ("a", "changed", "7"),
        ("a", "missing", "8"),
        ("a", "extra", "9000"),
        ("nokey", "duplicate", "5"),
    ] {
        let named =
            |line: &&String| line.starts_with(&format!("{table}|{kind}|")) && line.contains(key);
        assert!(found.iter().any(|line| named(&line)), "{table} {kind} {key}: {all}");
    }
}

#[test]
fn differences_block_the_switch_and_are_named() {
    let (cluster, mut client) = tenant();
    // Hold the comparison back until the damage is done.
    let mut other = cluster.connect();
    other.batch_execute("BEGIN; SELECT count(*) FROM t.a").unwrap();
    let id = begin(&mut client, "t", "node-2");
    wait_until("the copy is there", BOUND, || {
        let seen = shown(&mut client, id);
        if seen.contains("verify") && seen.contains("waiting") { Ok(()) } else { Err(seen) }
    });
    cluster.connect_to_node(2).batch_execute(DAMAGE).unwrap();
    other.batch_execute("COMMIT").unwrap();
    assert_eq!(wait(&mut client, id), "failed");
    let error = text(&mut client, "SELECT error FROM helios_migrations").concat();
    assert!(
        error.contains("the two copies differ") && error.contains("helios_mismatches"),
        "{error}"
    );
    assert_named(&mut client);
    assert_eq!(
        text(&mut client, "SELECT count(*), count(*) FILTER (WHERE v = 'v') FROM t.a"),
        ["5000|5000"]
    );
    assert_clean(&cluster, &["t"]);
    let id = switch(&mut client, "t", "node-2");
    finish(&mut client, id);
}

#[test]
fn copies_are_compared_on_demand() {
    let (cluster, mut client) = tenant();
    let verify =
        "SELECT \"table\", source_rows, target_rows, mismatches FROM helios_verify_schema('t')";
    let error = client.query(verify, &[]).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42704");
    let id = switch(&mut client, "t", "node-2");
    client.batch_execute("INSERT INTO t.a VALUES (6000, 'v')").unwrap();
    assert_eq!(text(&mut client, verify), ["t.a|5001|5001|0", "t.nokey|100|100|0"]);
    // The old copy is kept up to date; manual changes to it are detected.
    cluster
        .connect_to_node(1)
        .batch_execute("SET helios.migration_session = on; DELETE FROM t.a WHERE id = 1")
        .unwrap();
    assert_eq!(text(&mut client, verify), ["t.a|5000|5001|1", "t.nokey|100|100|0"]);
    let named = "SELECT kind, key FROM helios_mismatches";
    assert_eq!(text(&mut client, named).len(), 1);
    cluster
        .connect_to_node(1)
        .batch_execute("SET helios.migration_session = on; INSERT INTO t.a VALUES (1, 'v')")
        .unwrap();
    assert_eq!(text(&mut client, verify)[0], "t.a|5001|5001|0");
    roll_back(&mut client, id);
    assert_eq!(text(&mut client, "SELECT count(*) FROM t.a"), ["5001"]);
    assert_clean(&cluster, &["t"]);
}
