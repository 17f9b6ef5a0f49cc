//! Statements on a distributed schema run on its node only.

use std::io::{Read, Write};

use helios_tests::{Cluster, pgbench, psql};
use postgres::Client;

/// A distributed schema with a table `t (id, word)` of three rows, on a node.
fn schema(cluster: &Cluster, name: &str, node: usize) -> Client {
    let mut client = cluster.connect();
    client
        .batch_execute(&format!(
            "CREATE SCHEMA {name} DISTRIBUTED ON NODE \"node-{node}\"; \
             CREATE TABLE {name}.t (id int PRIMARY KEY, word text NOT NULL); \
             INSERT INTO {name}.t VALUES (1, 'one'), (2, 'two'), (3, 'three')"
        ))
        .unwrap();
    client
}

fn count(client: &mut Client, table: &str) -> i64 {
    client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).unwrap().get(0)
}

fn exists(client: &mut Client, schema: &str) -> bool {
    let query = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)";
    client.query_one(query, &[&schema]).unwrap().get(0)
}

#[test]
fn rows_are_on_the_schemas_node_and_nowhere_else() {
    let cluster = Cluster::shared();
    let mut client = schema(cluster, "placed", 2);
    assert_eq!(cluster.node_of("placed").name, "node-2");
    assert_eq!(count(&mut client, "placed.t"), 3);
    assert_eq!(count(&mut cluster.connect_to_node(2), "placed.t"), 3);
    assert!(!exists(&mut cluster.connect_to_node(1), "placed"));
    client.batch_execute("DROP SCHEMA placed CASCADE").unwrap();
    assert!(!exists(&mut client, "placed"));
    assert!(!exists(&mut cluster.connect_to_node(2), "placed"));
}

#[test]
fn schemas_spread_over_the_nodes() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect();
    let mut found = std::collections::BTreeSet::new();
    for number in 0..24 {
        let name = format!("spread_{number}");
        client.batch_execute(&format!("CREATE SCHEMA {name} DISTRIBUTED")).unwrap();
        found.insert(cluster.node_of(&name).name.clone());
    }
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["node-1", "node-2"]);
}

#[test]
fn every_command_is_routed() {
    let cluster = Cluster::shared();
    let mut client = schema(cluster, "commands", 1);
    let insert = "INSERT INTO commands.t VALUES ($1, $2) RETURNING id";
    let id: i32 = client.query_one(insert, &[&4, &"four"]).unwrap().get(0);
    assert_eq!(id, 4);
    assert_eq!(client.execute("UPDATE commands.t SET word = 'X' WHERE id > $1", &[&2]).unwrap(), 2);
    assert_eq!(client.execute("DELETE FROM commands.t WHERE id = 1", &[]).unwrap(), 1);
    let merge = "MERGE INTO commands.t USING (VALUES (2), (9)) AS v (id) ON t.id = v.id \
                 WHEN MATCHED THEN UPDATE SET word = 'merged' \
                 WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'new')";
    assert_eq!(client.execute(merge, &[]).unwrap(), 2);
    let rows = client.query("SELECT id, word FROM commands.t ORDER BY id", &[]).unwrap();
    let rows: Vec<(i32, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let expected = [(2, "merged"), (3, "X"), (4, "X"), (9, "new")];
    assert_eq!(rows, expected.map(|(id, word)| (id, word.to_owned())));
}

#[test]
fn copy_goes_both_ways() {
    let cluster = Cluster::shared();
    let mut client = schema(cluster, "copies", 1);
    let mut copy = client.copy_in("COPY copies.t FROM STDIN").unwrap();
    for id in 10..10_010 {
        writeln!(copy, "{id}\tword {id}").unwrap();
    }
    assert_eq!(copy.finish().unwrap(), 10_000);
    assert_eq!(count(&mut cluster.connect_to_node(1), "copies.t"), 10_003);
    let mut text = String::new();
    let query = "COPY (SELECT id FROM copies.t WHERE id < 12 ORDER BY id) TO STDOUT";
    client.copy_out(query).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "1\n2\n3\n10\n11\n");
}

#[test]
fn transactions_and_savepoints_follow() {
    let cluster = Cluster::shared();
    let mut client = schema(cluster, "blocks", 2);
    let mut transaction = client.transaction().unwrap();
    transaction.execute("DELETE FROM blocks.t", &[]).unwrap();
    let mut inner = transaction.transaction().unwrap();
    inner.execute("INSERT INTO blocks.t VALUES (7, 'undone')", &[]).unwrap();
    inner.rollback().unwrap();
    transaction.execute("INSERT INTO blocks.t VALUES (8, 'kept')", &[]).unwrap();
    assert_eq!(count(&mut cluster.connect_to_node(2), "blocks.t"), 3, "seen before the commit");
    transaction.commit().unwrap();
    let id: i32 = client.query_one("SELECT id FROM blocks.t", &[]).unwrap().get(0);
    assert_eq!(id, 8);
    let mut transaction = client.transaction().unwrap();
    transaction.execute("DELETE FROM blocks.t", &[]).unwrap();
    transaction.rollback().unwrap();
    assert_eq!(count(&mut client, "blocks.t"), 1);
}

#[test]
fn error_arrives_as_it_was_raised() {
    let cluster = Cluster::shared();
    let mut client = schema(cluster, "errors", 1);
    let error = client.execute("INSERT INTO errors.t VALUES (1, 'again')", &[]).unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "23505");
    assert_eq!(error.constraint(), Some("t_pkey"));
    assert_eq!(error.table(), Some("t"));
    assert_eq!(error.schema(), Some("errors"));
    assert_eq!(error.detail(), Some("Key (id)=(1) already exists."));
    assert!(error.where_().unwrap_or_default().contains("node-1"), "{error:?}");
    assert_eq!(count(&mut client, "errors.t"), 3);
}

#[test]
fn two_nodes_in_one_statement_are_joined_here() {
    let cluster = Cluster::shared();
    let mut client = schema(cluster, "left_side", 1);
    schema(cluster, "right_side", 2);
    let query = "SELECT * FROM left_side.t JOIN right_side.t USING (id)";
    assert_eq!(client.query(query, &[]).unwrap().len(), 3);
    // What cannot be done names the places.
    let query = "UPDATE left_side.t SET word = set_config('a.b', right_side.t.word, true) FROM right_side.t WHERE right_side.t.id = left_side.t.id";
    let error = client.execute(query, &[]).unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "0A000");
}

#[test]
fn psql_and_pgbench_work_in_a_tenants_schema() {
    let cluster = Cluster::shared();
    let server = cluster.coordinator();
    let script = "CREATE SCHEMA bench DISTRIBUTED ON NODE \"node-2\";\n\
        CREATE ROLE bench LOGIN SUPERUSER; ALTER ROLE bench SET search_path = bench;";
    psql(server, "helios", script).ok();
    pgbench(server, "helios", &["--initialize", "--quiet", "--username=bench"]);
    assert_eq!(count(&mut cluster.connect_to_node(2), "bench.pgbench_accounts"), 100_000);
    for protocol in ["simple", "extended", "prepared"] {
        let protocol = format!("--protocol={protocol}");
        let args =
            ["--username=bench", "--client=4", "--transactions=50", "--no-vacuum", &protocol];
        let run = pgbench(server, "helios", &args);
        assert_eq!((run.transactions, run.failed), (200, 0), "{}", run.output);
    }
    assert_eq!(count(&mut cluster.connect_to_node(2), "bench.pgbench_history"), 600);
}
