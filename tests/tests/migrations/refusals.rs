//! Schemas that cannot move, and operations that are not possible during a move: a clear message, nothing lost, nothing
//! left behind.

use helios_tests::{Cluster, refused};
use postgres::Client;

use crate::{assert_clean, begin, cluster, finish, shown, switch, text, wait};

#[test]
fn wrong_arguments() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    client.batch_execute("CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; CREATE SCHEMA plain; CREATE TABLE t.a (id int PRIMARY KEY); INSERT INTO t.a VALUES (1)").unwrap();
    for (sql, code, words) in [
        ("SELECT helios_migrate_schema('nowhere', 'node-2')", "3F000", "does not exist"),
        ("SELECT helios_migrate_schema('plain', 'node-2')", "42809", "not a distributed schema"),
        ("SELECT helios_migrate_schema('t', 'node-9')", "42704", "node \"node-9\" does not exist"),
        ("SELECT helios_migrate_schema('t', 'node-1')", "55000", "is already on node \"node-1\""),
        ("SELECT helios_migrate_schema(NULL, 'node-1')", "22004", "schema"),
        ("SELECT helios_migrate_schema('t', NULL)", "22004", "node"),
        ("SELECT helios_migrate_shard(4711, 'node-2')", "42704", "shard 4711 does not exist"),
        ("SELECT helios_migrate_shard(NULL, 'node-2')", "22004", "shard"),
        ("SELECT helios_cancel_migration(NULL)", "22004", "migration"),
    ] {
        refused(&mut client, sql, code, words);
    }
    client
        .batch_execute("UPDATE helios.node SET state = 'draining' WHERE name = 'node-2'")
        .unwrap();
    refused(&mut client, "SELECT helios_migrate_schema('t', 'node-2')", "55000", "draining");
    client.batch_execute("CREATE ROLE nobody LOGIN").unwrap();
    let error = cluster
        .connect_as("nobody")
        .batch_execute("SELECT helios_migrate_schema('t', 'node-2')")
        .unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501");
}

#[test]
fn two_moves_of_one_schema() {
    let cluster = cluster(3);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE t.a (id int PRIMARY KEY)",
        )
        .unwrap();
    let id = begin(&mut client, "t", "node-2");
    refused(
        &mut client,
        "SELECT helios_migrate_schema('t', 'node-3')",
        "55006",
        "is already being moved",
    );
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    refused(
        &mut client,
        "SELECT helios_migrate_schema('t', 'node-3')",
        "55006",
        "is already being moved",
    );
    finish(&mut client, id);
    let id = switch(&mut client, "t", "node-3");
    finish(&mut client, id);
    assert_clean(&cluster, &["t"]);
}

/// Asserts that the migration fails, says why, and leaves nothing behind.
#[track_caller]
fn fails(cluster: &Cluster, client: &mut Client, words: &str) {
    let id = begin(client, "t", "node-2");
    assert_eq!(wait(client, id), "failed", "{}", shown(client, id));
    let error =
        text(client, "SELECT error FROM helios_migrations ORDER BY id DESC LIMIT 1").concat();
    assert!(error.contains(words), "{error}");
    assert!(error.contains("Hint:"), "{error}");
    assert_clean(cluster, &["t"]);
    client.batch_execute("INSERT INTO t.a VALUES (DEFAULT)").unwrap();
}

/// Runs DDL on a node directly, as only a superuser can.
fn behind_its_back(cluster: &Cluster, node: usize, sql: &str) {
    let mut node = cluster.connect_to_node(node);
    node.batch_execute(&format!("SET helios.migration_session = on; {sql}")).unwrap();
}

#[test]
fn what_cannot_move_is_found_before_anything_is_touched() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    client.batch_execute("CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE t.a (id serial PRIMARY KEY)").unwrap();
    let mut node = cluster.connect_to_node(1);
    node.batch_execute("SET helios.migration_session = on; CREATE FOREIGN DATA WRAPPER none; CREATE SERVER s FOREIGN DATA WRAPPER none; CREATE FOREIGN TABLE t.f (x int) SERVER s").unwrap();
    fails(&cluster, &mut client, "foreign tables cannot move");
    node.batch_execute("DROP FOREIGN TABLE t.f; CREATE TABLE t.big (o oid); SELECT lo_create(0)")
        .unwrap();
    fails(&cluster, &mut client, "large objects cannot move");
    node.batch_execute(
        "DROP TABLE t.big; CREATE SCHEMA other; CREATE VIEW other.v AS SELECT * FROM t.a",
    )
    .unwrap();
    fails(&cluster, &mut client, "objects outside the schema depend on it");
    node.batch_execute("DROP SCHEMA other CASCADE").unwrap();
    node.batch_execute(
        "BEGIN; CREATE TABLE t.p (x int); DROP TABLE t.p; PREPARE TRANSACTION 'mine'",
    )
    .unwrap();
    fails(&cluster, &mut client, "a user's prepared transaction is in progress");
    node.batch_execute("ROLLBACK PREPARED 'mine'").unwrap();
    behind_its_back(&cluster, 2, "CREATE SCHEMA t");
    let id = begin(&mut client, "t", "node-2");
    assert_eq!(wait(&mut client, id), "failed");
    behind_its_back(&cluster, 2, "DROP SCHEMA t");
    let id = switch(&mut client, "t", "node-2");
    finish(&mut client, id);
    assert_clean(&cluster, &["t"]);
}

#[test]
fn nodes_without_a_slot_to_spare_are_refused() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    client.batch_execute("CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE t.a (id serial PRIMARY KEY)").unwrap();
    for number in 1..=2 {
        let mut node = cluster.connect_to_node(number);
        node.batch_execute("SELECT pg_create_physical_replication_slot('mine_' || i) FROM generate_series(1, current_setting('max_replication_slots')::int) i").unwrap();
        let id = begin(&mut client, "t", "node-2");
        assert_eq!(wait(&mut client, id), "failed", "{}", shown(&mut client, id));
        let seen = shown(&mut client, id);
        for words in
            [&format!("node-{number}"), "too many migrations", "max_replication_slots", "Hint:"]
        {
            assert!(seen.contains(words), "no {words:?} in {seen}");
        }
        node.batch_execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
            .unwrap();
        assert_clean(&cluster, &["t"]);
    }
    let id = switch(&mut client, "t", "node-2");
    finish(&mut client, id);
    assert_clean(&cluster, &["t"]);
}

#[test]
fn definitions_wait_until_the_move_is_over() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    client.batch_execute("CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE t.a (id serial PRIMARY KEY)").unwrap();
    let id = switch(&mut client, "t", "node-2");
    for sql in [
        "ALTER TABLE t.a ADD COLUMN x int",
        "CREATE TABLE t.b (x int)",
        "DROP TABLE t.a",
        "TRUNCATE t.a",
        "DROP SCHEMA t CASCADE",
        "ALTER SCHEMA t RENAME TO u",
        "CREATE INDEX ON t.a ((id + 1))",
    ] {
        refused(&mut client, sql, "55006", "migration");
    }
    refused(
        &mut client,
        "SELECT helios_remove_node('node-1')",
        "55006",
        "because migration 1 uses it",
    );
    // Clients connected to the old copy's node directly are refused.
    refused(
        &mut cluster.connect_to_node(1),
        "INSERT INTO t.a VALUES (DEFAULT)",
        "55006",
        "cannot write to schema",
    );
    client.batch_execute("INSERT INTO t.a VALUES (DEFAULT)").unwrap();
    finish(&mut client, id);
    client.batch_execute("ALTER TABLE t.a ADD COLUMN x int; TRUNCATE t.a").unwrap();
    assert_clean(&cluster, &["t"]);
}
