//! Clusters of the previous version, with that version's library: they are updated server by server, the coordinator
//! first, and serve statements throughout.

use super::{BEFORE, NOW, installed, refused_before};
use helios_tests::{BOUND, Cluster, pg, skip, text, wait_until};
use postgres::Client;
use testkit::obtain::Obtained;
use testkit::released;

/// A cluster of the previous version; `None`, with a skip noted, if that version cannot be built.
fn cluster_before(nodes: u16) -> Option<Cluster> {
    match released::library_dir(&pg(), BEFORE).unwrap() {
        Obtained::Yes(dir) => Some(Cluster::of_version(nodes, BEFORE, &dir)),
        Obtained::No(reason) => {
            skip(&reason);
            None
        }
    }
}

const SCHEMAS: &str = "
    CREATE SCHEMA a DISTRIBUTED ON NODE \"node-1\";
    CREATE TABLE a.t (id serial PRIMARY KEY, v text);
    INSERT INTO a.t (v) SELECT 'row ' || n FROM generate_series(1, 10) AS n;
    CREATE PROCEDURE a.p() LANGUAGE sql AS 'INSERT INTO a.t (v) VALUES (''called'')';
    CREATE SCHEMA b DISTRIBUTED ON NODE \"node-2\";
    CREATE TABLE b.t (id serial PRIMARY KEY, v text);
    CREATE TABLE country (code text PRIMARY KEY, name text);
    INSERT INTO country VALUES ('nl', 'Nederland');
    SELECT helios_create_reference_table('public.country');
    CREATE TABLE here (id serial PRIMARY KEY, v text);
    INSERT INTO here (v) VALUES ('one')";

/// Statements for a coordinator with catalogs of the previous version: those that use Helios are refused.
const CONCERNED: [&str; 26] = [
    "SELECT * FROM a.t",
    "SELECT count(*) FROM here JOIN a.t USING (id)",
    "INSERT INTO a.t (v) VALUES ('x')",
    "UPDATE a.t SET v = 'x'",
    "WITH gone AS (DELETE FROM a.t RETURNING *) SELECT count(*) FROM gone",
    "COPY a.t TO STDOUT",
    "COPY (SELECT * FROM a.t) TO STDOUT",
    "CALL a.p()",
    "SELECT nextval('a.t_id_seq')",
    "DO $$ BEGIN PERFORM nextval(format('%s.t_id_seq', 'a')::regclass); END $$",
    "DO $$ BEGIN PERFORM FROM a.t; END $$",
    "SELECT pg_table_size(c.oid) FROM pg_class c WHERE relname = 't' AND relnamespace = 'a'::regnamespace",
    "SELECT * FROM country",
    "INSERT INTO country VALUES ('de', 'Deutschland')",
    "CREATE TABLE a.more (a int)",
    "ALTER TABLE a.t ADD w int",
    "DROP TABLE a.t",
    "TRUNCATE a.t",
    "ALTER SCHEMA a RENAME TO c",
    "DROP SCHEMA a CASCADE",
    "CREATE ROLE everywhere",
    "CREATE SCHEMA plain_everywhere",
    "CREATE EXTENSION hstore",
    "SELECT helios_migrate_schema('a', 'node-2')",
    "SELECT * FROM helios_check_cluster()",
    "DROP EXTENSION helios",
];

/// Statements that do not use Helios run.
const ORDINARY: [&str; 7] = [
    "SELECT * FROM here",
    "INSERT INTO here (v) VALUES ('two')",
    "BEGIN; UPDATE here SET v = 'three' WHERE id = 2; SAVEPOINT s; DELETE FROM here; ROLLBACK TO s; COMMIT",
    "CREATE TABLE here_too AS SELECT * FROM here",
    "VACUUM here_too",
    "DO $$ BEGIN PERFORM nextval(format('here_%s_seq', 'id')::regclass); END $$",
    "DROP TABLE here_too",
];

#[test]
fn cluster_is_updated_server_by_server() {
    let Some(mut cluster) = cluster_before(2) else { return };
    cluster.connect().batch_execute(SCHEMAS).unwrap();
    library_before_refuses_the_new_scripts(&cluster);

    cluster.take_library(0);
    coordinator_refuses_until_it_is_updated(&cluster);
    nodes_one_version_behind_serve(&cluster);
    statements_that_older_nodes_cannot_run_are_refused(&cluster);
    migrate(&cluster, "a", "node-2");
    migrate(&cluster, "a", "node-1");

    cluster.take_library(1);
    node_refuses_until_it_is_updated(&cluster);
    nodes_of_different_versions_serve(&cluster);

    cluster.take_library(2);
    cluster.connect_to_node(2).batch_execute("ALTER EXTENSION helios UPDATE").unwrap();
    let mut client = cluster.connect();
    assert_eq!(text(&mut client, "SELECT count(*) FROM a.t JOIN country ON true"), ["30"]);
    let left = "SELECT node, \"check\", detail FROM helios_check_cluster() WHERE NOT ok OR remedy IS NOT NULL";
    assert_eq!(text(&mut client, left), [""; 0]);
}

/// The scripts are on disk once installed; the old library stays loaded until the restart.
fn library_before_refuses_the_new_scripts(cluster: &Cluster) {
    let mut client = cluster.connect();
    for statement in
        ["ALTER EXTENSION helios UPDATE", "DROP EXTENSION helios; CREATE EXTENSION helios"]
    {
        let mut other = cluster.node(1).connect("postgres").unwrap();
        let client = if statement.starts_with("ALTER") { &mut client } else { &mut other };
        client
            .batch_execute("BEGIN; CREATE EXTENSION IF NOT EXISTS helios VERSION '0.1.0'")
            .unwrap();
        let error = client.batch_execute(statement).unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "55000", "{error:?}");
        assert!(error.message().contains("loaded library version 0.1.0"), "{error:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("Restart")), "{error:?}");
        client.batch_execute("ROLLBACK").unwrap();
    }
}

fn coordinator_refuses_until_it_is_updated(cluster: &Cluster) {
    let mut open = cluster.connect();
    assert_eq!(installed(&mut open), BEFORE);
    for statement in CONCERNED {
        refused_before(&mut open, statement);
    }
    for statement in ORDINARY {
        open.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    let mut dump = cluster.coordinator().client("pg_dump", "helios").unwrap();
    let dump = dump.args(["--table", "here"]).output().unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    // Which sequence is used is known only at execution, in a plan made before the update.
    open.batch_execute("PREPARE next(regclass) AS SELECT nextval($1)").unwrap();
    for _ in 0..7 {
        open.batch_execute("EXECUTE next('here_id_seq')").unwrap();
    }
    let mut updating = cluster.connect();
    updating
        .batch_execute("BEGIN; ALTER EXTENSION helios UPDATE; SELECT * FROM a.t; ROLLBACK")
        .unwrap();
    refused_before(&mut updating, "SELECT * FROM a.t");
    updating.batch_execute("ALTER EXTENSION helios UPDATE").unwrap();
    assert_eq!(text(&mut open, "EXECUTE next('a.t_id_seq')"), ["11"]);
    assert_eq!(text(&mut open, "SELECT count(*) FROM a.t"), ["10"]);
}

fn nodes_one_version_behind_serve(cluster: &Cluster) {
    let mut client = cluster.connect();
    for number in [1, 2] {
        assert_eq!(installed(&mut cluster.connect_to_node(number)), BEFORE);
    }
    client
        .batch_execute(
            "INSERT INTO a.t (v) VALUES ('x'); UPDATE a.t SET v = 'y' WHERE v = 'x'; DELETE FROM a.t WHERE v = 'y';
             CALL a.p(); DELETE FROM a.t WHERE v = 'called';
             BEGIN; INSERT INTO a.t (v) VALUES ('both'); INSERT INTO b.t (v) VALUES ('both'); INSERT INTO here (v) VALUES ('both'); COMMIT;
             ALTER TABLE a.t ADD w int DEFAULT 7; CREATE INDEX ON a.t (w); CREATE TABLE b.more (LIKE b.t INCLUDING ALL); DROP TABLE b.more;
             CREATE SCHEMA c DISTRIBUTED; CREATE TABLE c.t (a int); DROP SCHEMA c CASCADE;
             INSERT INTO country VALUES ('de', 'Deutschland'), ('fr', 'France'); DELETE FROM country WHERE code = 'fr';
             CREATE ROLE of_all; GRANT USAGE ON SCHEMA a TO of_all; GRANT SELECT ON a.t TO of_all;
             CREATE TABLE region (code text PRIMARY KEY); SELECT helios_create_reference_table('public.region');
             SET app.tenant = 'a'; SET TimeZone = 'Asia/Tokyo'; SET ROLE of_all",
        )
        .unwrap();
    let settings = "SELECT DISTINCT current_setting('app.tenant'), current_setting('TimeZone'), current_user FROM a.t";
    assert_eq!(text(&mut client, settings), ["a|Asia/Tokyo|of_all"]);
    client.batch_execute("RESET ROLE").unwrap();
    client.batch_execute("BEGIN; UPDATE a.t SET w = 8; UPDATE b.t SET v = 'z'; ROLLBACK").unwrap();
    assert_eq!(text(&mut client, "SELECT count(*), sum(w) FROM a.t"), ["11|77"]);
    assert_eq!(text(&mut client, "SELECT v FROM b.t"), ["both"]);
    assert_eq!(text(&mut client, "SELECT count(*) FROM a.t, country"), ["22"]);
    let older = "SELECT node, ok, detail LIKE '%the node should be upgraded soon%', remedy LIKE '%ALTER EXTENSION helios UPDATE%'
                   FROM helios_check_cluster() WHERE \"check\" = 'extension' ORDER BY node";
    assert_eq!(text(&mut client, older), ["coordinator|t|f|NULL", "node-1|t|t|t", "node-2|t|t|t"]);
    let faults = "SELECT node, \"check\", detail FROM helios_check_cluster() WHERE NOT ok";
    assert_eq!(text(&mut client, faults), [""; 0]);
}

/// What only this version's functions on the node can do is refused, naming the node; reading in parts needs none of them.
fn statements_that_older_nodes_cannot_run_are_refused(cluster: &Cluster) {
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TEMPORARY TABLE mine (id int, v text); INSERT INTO mine VALUES (1, 'one');
             SET helios.min_fetched_rows = 0; GRANT SELECT ON country TO of_all; CREATE TABLE elsewhere (code text PRIMARY KEY);
             GRANT REFERENCES ON elsewhere TO of_all; CREATE SCHEMA of_all DISTRIBUTED ON NODE \"node-1\"; GRANT ALL ON SCHEMA of_all TO of_all",
        )
        .unwrap();
    for (query, expected) in [
        ("SELECT t.v, mine.v FROM a.t JOIN mine USING (id)", "row 1|one"),
        ("SELECT count(*) FROM a.t JOIN here ON here.id = t.id", "2"),
        ("SELECT count(*) FROM a.t, b.t", "11"),
    ] {
        assert_eq!(text(&mut client, query), [expected], "{query}");
    }
    let refused = |client: &mut Client, statement: &str| {
        let error = client.simple_query(statement).map(|_| ()).expect_err(statement);
        let error = error.as_db_error().unwrap_or_else(|| panic!("{statement}: {error}"));
        let message = "helios 0.1.0 on node \"node-1\" does not support this statement";
        assert_eq!(
            (error.code().code(), error.message()),
            ("55000", message),
            "{statement}: {error:?}"
        );
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains("ALTER EXTENSION helios UPDATE"), "{statement}: {error:?}");
    };
    for statement in [
        "SELECT count(other.v) FROM a.t JOIN mine USING (id) LEFT JOIN a.t other ON other.id = mine.id + 1",
        "INSERT INTO a.t (v) SELECT v FROM mine",
        "EXPLAIN INSERT INTO a.t (v) SELECT v FROM mine",
        "UPDATE a.t SET v = b.v FROM b.t b WHERE b.id = t.id",
        "SET ROLE of_all; CREATE TABLE of_all.t (code text REFERENCES elsewhere)",
    ] {
        refused(&mut client, statement);
    }
    client.batch_execute("RESET ROLE; DROP SCHEMA of_all CASCADE").unwrap();
}

fn migrate(cluster: &Cluster, schema: &str, node: &str) {
    let mut client = cluster.connect();
    let rows = format!("SELECT count(*) FROM {schema}.t");
    let before = text(&mut client, &rows);
    let start = format!("SELECT helios_migrate_schema('{schema}', '{node}')");
    let id = text(&mut client, &start).concat();
    wait_until("the migration is done", BOUND * 2, || {
        let state = text(
            &mut client,
            &format!("SELECT state, error FROM helios_migrations WHERE id = {id}"),
        );
        match state.concat().split('|').next() {
            Some("dual_write_back" | "finished") => Ok(()),
            Some("failed" | "cancelled") => panic!("{state:?}"),
            _ => Err(format!("{state:?}")),
        }
    });
    client.batch_execute(&format!("SELECT helios_finish_migration({id})")).unwrap();
    client.batch_execute(&format!("SELECT helios_wait_for_migration({id})")).unwrap();
    assert_eq!(text(&mut client, &format!("SELECT helios_node_for_schema('{schema}')")), [node]);
    assert_eq!(text(&mut client, &rows), before);
}

/// A server with the new library but the old catalogs: its coordinator gets an error, other statements run.
fn node_refuses_until_it_is_updated(cluster: &Cluster) {
    let mut client = cluster.connect();
    let told = |client: &mut Client, statement: &str| {
        let error = client.simple_query(statement).map(|_| ()).expect_err(statement);
        let error = error.as_db_error().unwrap_or_else(|| panic!("{statement}: {error}"));
        assert_eq!(error.code().code(), "55000", "{statement}: {error:?}");
        let all = format!("{error:?}");
        assert!(
            all.contains("ALTER EXTENSION helios UPDATE") && all.contains("node-1"),
            "{statement}: {all}"
        );
    };
    for statement in
        ["SELECT * FROM a.t", "INSERT INTO a.t (v) VALUES ('x')", "ALTER TABLE a.t ADD more int"]
    {
        told(&mut client, statement);
    }
    client.batch_execute("INSERT INTO b.t (v) VALUES ('elsewhere')").unwrap();
    let fault = "SELECT ok, remedy FROM helios_check_cluster() WHERE node = 'node-1' AND \"check\" = 'extension'";
    assert_eq!(text(&mut client, fault), ["f|On the node: Run ALTER EXTENSION helios UPDATE."]);
    let mut node = cluster.connect_to_node(1);
    refused_before(&mut node, "SELECT helios.free_bytes()");
    node.batch_execute("ALTER EXTENSION helios UPDATE").unwrap();
    assert_eq!(installed(&mut node), NOW);
    // The same client session, with the same session on the node that was updated.
    assert_eq!(text(&mut client, "SELECT count(*) FROM a.t"), ["11"]);
    client
        .batch_execute("BEGIN; UPDATE a.t SET v = here.v FROM here WHERE here.id = t.id; ROLLBACK")
        .unwrap();
}

fn nodes_of_different_versions_serve(cluster: &Cluster) {
    let mut client = cluster.connect();
    client
        .batch_execute(
            "BEGIN; INSERT INTO a.t (v) VALUES ('mixed'); INSERT INTO b.t (v) VALUES ('mixed'); COMMIT;
             INSERT INTO country VALUES ('it', 'Italia'); DELETE FROM country WHERE code = 'it';
             CREATE ROLE of_all_too; ALTER TABLE b.t ADD w int",
        )
        .unwrap();
    migrate(cluster, "b", "node-1");
    migrate(cluster, "a", "node-2");
    client.batch_execute("DELETE FROM a.t WHERE v = 'mixed'; INSERT INTO a.t (v) SELECT 'more' FROM generate_series(1, 4)").unwrap();
    assert_eq!(text(&mut client, "SELECT count(*) FROM a.t"), ["15"]);
}

/// The discouraged order: a node before its coordinator. Statements still run because everything that the previous
/// version calls is still there.
#[test]
fn node_that_is_updated_first_serves_its_coordinator() {
    let Some(mut cluster) = cluster_before(1) else { return };
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA a DISTRIBUTED; CREATE TABLE a.t (id serial PRIMARY KEY, v text);
             CREATE TABLE country (code text PRIMARY KEY); SELECT helios_create_reference_table('public.country'); CREATE TABLE here (v text)",
        )
        .unwrap();
    drop(client);
    cluster.take_library(1);
    cluster.connect_to_node(1).batch_execute("ALTER EXTENSION helios UPDATE").unwrap();
    let mut client = cluster.connect();
    assert_eq!(text(&mut client, "SELECT helios_version()"), [BEFORE]);
    client
        .batch_execute(
            "INSERT INTO a.t (v) VALUES ('x'); BEGIN; UPDATE a.t SET v = 'y'; INSERT INTO here VALUES ('y'); COMMIT;
             ALTER TABLE a.t ADD w int; INSERT INTO country VALUES ('nl'); CREATE ROLE of_node_first",
        )
        .unwrap();
    assert_eq!(text(&mut client, "SELECT v, code FROM a.t, country"), ["y|nl"]);
    let fault =
        "SELECT ok FROM helios_check_cluster() WHERE node = 'node-1' AND \"check\" = 'extension'";
    assert_eq!(text(&mut client, fault), ["f"]);
    cluster.take_library(0);
    let mut client = cluster.connect();
    client.batch_execute("ALTER EXTENSION helios UPDATE").unwrap();
    assert_eq!(text(&mut client, "SELECT v, code FROM a.t, country"), ["y|nl"]);
}
