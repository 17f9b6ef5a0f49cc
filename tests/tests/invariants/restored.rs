//! Invariant 3 with a second coordinator: a database restored from a dump or copied from a coordinator's has a
//! directory of nodes with live data, which it must not touch until told to.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use helios_tests::{Cluster, wait_until};
use postgres::Client;
use testkit::cluster::DATABASE;

use crate::{refused, value};

const ELSEWHERE: &[&str] = &["another cluster", "helios_adopt_nodes()", "DROP EXTENSION helios"];

fn cluster() -> Cluster {
    let cluster = Cluster::start(1);
    let create = "CREATE SCHEMA td DISTRIBUTED; CREATE TABLE td.k (x serial PRIMARY KEY, v text); \
                  INSERT INTO td.k (v) SELECT 'v' FROM generate_series(1, 10); \
                  CREATE INDEX k_v ON td.k (v); \
                  CREATE MATERIALIZED VIEW td.m AS SELECT count(*) FROM td.k; \
                  CREATE TABLE public.l AS SELECT 1 AS x";
    cluster.connect().batch_execute(create).unwrap();
    cluster
}

fn dump(cluster: &Cluster, arguments: &[&str]) -> Vec<u8> {
    let mut dump = cluster.coordinator().client("pg_dump", DATABASE).unwrap();
    let output = dump.args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Runs a script with `psql`'s defaults: errors do not stop it. Returns the output.
fn restore(cluster: &Cluster, database: &str, script: &[u8]) -> String {
    let mut psql = cluster.coordinator().client("psql", database).unwrap();
    psql.args(["--no-psqlrc", "--quiet", "--file=-"]);
    psql.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = psql.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(script).unwrap());
        child.wait_with_output().unwrap()
    });
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn restored(cluster: &Cluster, database: &str) -> Client {
    cluster.connect().batch_execute(&format!("CREATE DATABASE {database}")).unwrap();
    restore(cluster, database, &dump(cluster, &[]));
    cluster.coordinator().connect(database).unwrap()
}

/// State of the production cluster, as seen from its coordinator and on its node.
fn rows(cluster: &Cluster) -> [String; 2] {
    let count = "SELECT count(*) || ' ' || max(x) FROM td.k";
    [&mut cluster.connect(), &mut cluster.connect_to_node(1)]
        .map(|client| value(client, count).unwrap().unwrap())
}

fn check_refusals(copy: &mut Client) {
    for sql in [
        "SELECT count(*) FROM td.k",
        "INSERT INTO td.k (v) VALUES ('stray')",
        "UPDATE td.k SET v = 'stray'",
        "DELETE FROM td.k",
        "TRUNCATE td.k",
        "COPY td.k TO STDOUT",
        "SELECT nextval('td.k_x_seq')",
        "REFRESH MATERIALIZED VIEW td.m",
        "VACUUM td.k",
        "CREATE TABLE td.made AS SELECT 1 AS x",
        "CREATE SCHEMA more DISTRIBUTED",
        "CREATE SCHEMA more DISTRIBUTED ON NODE \"node-1\"",
        "SELECT helios_remove_node('node-1')",
        "SELECT helios_add_node('other', '127.0.0.1', 1)",
    ] {
        refused(copy, sql, "55000", ELSEWHERE);
    }
    copy.batch_execute("CREATE ROLE nobody_new; DROP ROLE nobody_new").unwrap();
}

#[test]
fn restored_dump_leaves_the_nodes_alone() {
    let cluster = cluster();
    let mut copy = restored(&cluster, "scratch");
    assert_eq!(rows(&cluster), ["10 10", "10 10"], "restoring wrote into the production cluster");
    check_refusals(&mut copy);
    copy.batch_execute("DROP INDEX td.k_v; DROP TABLE td.k CASCADE; CREATE TABLE td.new (x int)")
        .unwrap();
    assert_eq!(rows(&cluster), ["10 10", "10 10"]);
    let indexes = "SELECT count(*) FROM pg_class WHERE relname IN ('k_v', 'new')";
    assert_eq!(value(&mut cluster.connect_to_node(1), indexes).unwrap().as_deref(), Some("1"));
    let health = "SELECT string_agg(remedy, '') FROM helios_check_cluster() WHERE NOT ok";
    assert!(value(&mut copy, health).unwrap().unwrap().contains("helios_adopt_nodes"));
}

/// Recommended procedure for a copy that is only inspected.
#[test]
fn restored_dump_becomes_a_server_of_its_own() {
    let cluster = cluster();
    let mut copy = restored(&cluster, "scratch");
    copy.batch_execute("DROP EXTENSION helios").unwrap();
    let said = restore(&cluster, "scratch", &dump(&cluster, &["--data-only", "--schema=td"]));
    assert_eq!(said, "");
    assert_eq!(value(&mut copy, "SELECT count(*) FROM td.k").unwrap().as_deref(), Some("10"));
    copy.batch_execute("INSERT INTO td.k (v) VALUES ('here'); DROP SCHEMA td CASCADE").unwrap();
    assert_eq!(rows(&cluster), ["10 10", "10 10"]);
}

/// Recommended procedure if the coordinator is lost.
#[test]
fn restored_dump_takes_the_nodes_over() {
    let cluster = cluster();
    let mut node = cluster.connect_to_node(1);
    let cluster_id = "SELECT id FROM helios.cluster";
    let old = value(&mut cluster.connect(), cluster_id).unwrap().unwrap();
    node.batch_execute(&format!(
        "SET helios.migration_session = on; BEGIN; CREATE TABLE left_behind (); PREPARE TRANSACTION 'helios_{old}_1_0_7_1'"
    ))
    .unwrap();
    let said = restore(&cluster, "postgres", b"CREATE DATABASE heir");
    assert_eq!(said, "");
    restore(&cluster, "heir", &dump(&cluster, &[]));
    let said = restore(&cluster, "heir", b"SELECT helios_adopt_nodes()");
    assert!(said.contains(&format!("helios_{old}_1_0_7_1")), "{said}");
    node.batch_execute(&format!("ROLLBACK PREPARED 'helios_{old}_1_0_7_1'")).unwrap();
    let mut heir = cluster.coordinator().connect("heir").unwrap();
    assert_eq!(value(&mut heir, "SELECT count(*) FROM td.k").unwrap().as_deref(), Some("10"));
    heir.batch_execute(
        "INSERT INTO td.k VALUES (1, 'x') ON CONFLICT (x) DO NOTHING; \
         BEGIN; INSERT INTO td.k (v) VALUES ('both'); INSERT INTO public.l VALUES (2); COMMIT; \
         ALTER TABLE td.k ADD COLUMN more int; CREATE SCHEMA mine DISTRIBUTED; \
         REFRESH MATERIALIZED VIEW td.m",
    )
    .unwrap();
    assert_eq!(value(&mut heir, "SELECT count FROM td.m").unwrap().as_deref(), Some("11"));
    let health =
        "SELECT string_agg(node || ' ' || \"check\", ',') FROM helios_check_cluster() WHERE NOT ok";
    assert_eq!(value(&mut heir, health).unwrap().as_deref(), Some("NULL"));
    // The old coordinator detects it at its next check.
    assert_eq!(
        value(&mut cluster.connect(), health).unwrap().as_deref(),
        Some("node-1 definitions,node-1 cluster")
    );
}

/// Reference tables are restored from a dump as reference tables, and the copies on nodes are taken over with the nodes.
#[test]
fn restored_reference_tables_take_their_copies_over() {
    let cluster = cluster();
    let script = "CREATE TABLE country (id serial PRIMARY KEY, code text UNIQUE); \
                  INSERT INTO country (code) VALUES ('ch'), ('fr'); \
                  SELECT helios_create_reference_table('country'); \
                  CREATE TABLE td.city (id int PRIMARY KEY, country int REFERENCES country); \
                  INSERT INTO td.city VALUES (1, 1)";
    cluster.connect().batch_execute(script).unwrap();
    let mut heir = restored(&cluster, "heir");
    let codes = "SELECT string_agg(code, ',' ORDER BY id) FROM country";
    let there = |cluster: &Cluster| value(&mut cluster.connect_to_node(1), codes).unwrap().unwrap();
    // The rows are those of the restored copy until the nodes are taken over.
    assert_eq!(value(&mut heir, codes).unwrap().as_deref(), Some("ch,fr"));
    for sql in [
        "INSERT INTO country (code) VALUES ('it')",
        "UPDATE country SET code = 'x'",
        "UPDATE country SET code = 'x' WHERE false",
        "DELETE FROM country",
        "ALTER TABLE country ADD COLUMN more int DEFAULT 7",
    ] {
        refused(&mut heir, sql, "55000", ELSEWHERE);
    }
    assert_eq!(there(&cluster), "ch,fr", "restoring wrote into the production cluster");
    assert_eq!(value(&mut heir, "SELECT helios_adopt_nodes()").unwrap().as_deref(), Some("1"));
    heir.batch_execute(
        "INSERT INTO country VALUES (3, 'it'); UPDATE country SET code = 'de' WHERE id = 2; \
         INSERT INTO td.city VALUES (2, 3)",
    )
    .unwrap();
    assert_eq!(there(&cluster), "ch,de,it");
    heir.batch_execute(
        "SET session_replication_role = replica; INSERT INTO country VALUES (4, 'pl'); \
         DELETE FROM country WHERE id = 4; INSERT INTO country VALUES (5, 'es'); \
         RESET session_replication_role",
    )
    .unwrap();
    assert_eq!(there(&cluster), "ch,de,it,es", "the triggers were not restored as they were");
    let join = "SELECT string_agg(code, ',' ORDER BY city.id) FROM td.city JOIN country c ON c.id = city.country";
    assert_eq!(value(&mut heir, join).unwrap().as_deref(), Some("ch,it"));
    refused(&mut heir, "DELETE FROM country WHERE id = 1", "23503", &["city"]);
    refused(&mut heir, "INSERT INTO td.city VALUES (3, 99)", "23503", &["country"]);
    let health =
        "SELECT string_agg(node || ' ' || \"check\", ',') FROM helios_check_cluster() WHERE NOT ok";
    assert_eq!(value(&mut heir, health).unwrap().as_deref(), Some("NULL"));
}

/// Rows written in production after the dump are visible as soon as the nodes are taken over.
#[test]
fn reference_tables_newer_than_the_dump_are_told_of() {
    let cluster = cluster();
    let script = "CREATE TABLE country (id int PRIMARY KEY); INSERT INTO country VALUES (1); \
                  SELECT helios_create_reference_table('country')";
    cluster.connect().batch_execute(script).unwrap();
    drop(restored(&cluster, "heir"));
    cluster.connect().batch_execute("INSERT INTO country VALUES (2)").unwrap();
    let said = restore(&cluster, "heir", b"SELECT helios_adopt_nodes()");
    assert!(said.contains("country") && said.contains("node-1"), "{said}");
}

/// CREATE DATABASE … TEMPLATE copies the cluster's ID as well.
#[test]
fn copied_database_leaves_the_nodes_alone() {
    let cluster = cluster();
    let mut admin = cluster.coordinator().connect("postgres").unwrap();
    wait_until("nobody else is connected", Duration::from_secs(30), || {
        let create = format!("CREATE DATABASE copied TEMPLATE {DATABASE}");
        admin.batch_execute(&create).map_err(|error| error.to_string())
    });
    let mut copy = cluster.coordinator().connect("copied").unwrap();
    check_refusals(&mut copy);
    assert_eq!(rows(&cluster), ["10 10", "10 10"]);
    copy.batch_execute("SELECT helios_adopt_nodes(); INSERT INTO td.k (v) VALUES ('mine now')")
        .unwrap();
    assert_eq!(rows(&cluster), ["11 11", "11 11"]);
    let ids = "SELECT count(DISTINCT id) FROM (SELECT id FROM helios.cluster UNION ALL SELECT node_of FROM helios.cluster) i";
    assert_eq!(value(&mut copy, ids).unwrap().as_deref(), Some("1"));
}

#[test]
fn node_of_another_cluster_is_not_added() {
    let (one, other) = (Cluster::start(1), Cluster::start(0));
    let mut thief = other.connect();
    let add = format!("SELECT helios_add_node('taken', '127.0.0.1', {})", one.node(1).port);
    refused(
        &mut thief,
        &add,
        "55000",
        &["\"taken\"", "node of another cluster", "helios_remove_node"],
    );
    one.connect().batch_execute("SELECT helios_remove_node('node-1')").unwrap();
    thief.batch_execute(&add).unwrap();
    thief.batch_execute("DROP EXTENSION helios CASCADE; CREATE EXTENSION helios").unwrap();
    one.connect().batch_execute(&add).unwrap();
}
