//! Functions and views about the server or session they run on return the coordinator's answer or an error.

use helios_tests::{Cluster, refused, text};
use postgres::Client;

/// A distributed schema on node 1 with a table that lists schemas.
fn schema(name: &str) -> Client {
    let mut client = Cluster::shared().connect();
    client
        .batch_execute(&format!(
            "CREATE SCHEMA {name} DISTRIBUTED ON NODE \"node-1\"; \
             CREATE TABLE {name}.tenants (n text, pid int); INSERT INTO {name}.tenants VALUES ('{name}', 1)"
        ))
        .unwrap();
    client
}

#[test]
fn functions_of_helios_are_refused_beside_a_tenants_table() {
    let mut client = schema("asks");
    for sql in [
        "SELECT helios_node_for_schema(n) FROM asks.tenants",
        "SELECT n FROM asks.tenants WHERE helios_node_for_schema(n) = 'node-1'",
        "SELECT helios_node_for_key(n) FROM asks.tenants",
        "SELECT t.n, i.nodes FROM asks.tenants t, helios_cluster_info() i",
        "SELECT n, (SELECT count(*) FROM helios_active_migrations()) FROM asks.tenants",
        "SELECT helios_migrate_schema(n, 'node-2') FROM asks.tenants",
        "SELECT helios_version() FROM asks.tenants",
        "INSERT INTO asks.tenants VALUES (helios_node_for_schema('asks'))",
        "UPDATE asks.tenants SET n = helios_node_for_schema(n)",
        "WITH x AS (SELECT helios_node_for_schema('asks') AS n) SELECT * FROM x, asks.tenants",
        "SELECT n FROM asks.tenants ORDER BY helios_node_for_schema(n)",
        "DO $$ DECLARE r record; BEGIN FOR r IN SELECT helios_node_for_schema(n) FROM asks.tenants LOOP END LOOP; END $$",
        "CREATE TEMP TABLE x AS SELECT helios_node_for_schema(n) FROM asks.tenants",
        "COPY (SELECT helios_node_for_schema(n) FROM asks.tenants) TO STDOUT",
        "SELECT t.n, s.* FROM asks.tenants t, helios_shards s",
        "SELECT t.n, s.node FROM asks.tenants t JOIN helios.schema s ON s.name = t.n",
        "SELECT t.n, s.* FROM asks.tenants t, helios_nodes s",
        "SELECT t.n, s.* FROM asks.tenants t, helios_migrations s",
        "SELECT t.n, s.* FROM asks.tenants t, helios_transactions s",
        "SELECT t.n, s.* FROM asks.tenants t, helios_schema_statistics s",
    ] {
        let error = client.simple_query(sql).map(|_| ()).expect_err(sql);
        let error = error.as_db_error().unwrap();
        assert!(["0A000", "42703"].contains(&error.code().code()), "{sql}: {error:?}");
    }
    refused(
        &mut client,
        "SELECT helios_node_for_schema(n) FROM asks.tenants",
        "0A000",
        "helios_node_for_schema()",
    );
    // What the hints suggest.
    assert_eq!(text(&mut client, "SELECT helios_node_for_schema('asks')"), ["node-1"]);
    client.batch_execute("CREATE TEMP TABLE brought AS SELECT n FROM asks.tenants").unwrap();
    assert_eq!(text(&mut client, "SELECT helios_node_for_schema(n) FROM brought"), ["node-1"]);
    // The slot of a key is the same everywhere.
    let slot = text(&mut client, "SELECT helios_key_slot('asks')");
    assert_eq!(text(&mut client, "SELECT helios_key_slot(n) FROM asks.tenants"), slot);
}

/// Functions, triggers, defaults and views of a distributed schema, and functions of plain schemas.
#[test]
fn functions_of_helios_are_refused_in_code_that_runs_on_a_node() {
    let mut client = schema("asked");
    client
        .batch_execute(
            "CREATE FUNCTION asked.f(n text) RETURNS text LANGUAGE sql AS 'SELECT helios_node_for_schema(n)'; \
             CREATE FUNCTION asked.g(n text) RETURNS text LANGUAGE plpgsql AS \
             'BEGIN RETURN helios_node_for_schema(n); END'; \
             CREATE FUNCTION asked.views() RETURNS bigint LANGUAGE plpgsql AS \
             'BEGIN RETURN (SELECT count(*) FROM helios_shards); END'; \
             CREATE VIEW asked.v AS SELECT n, helios_node_for_schema(n) AS node FROM asked.tenants; \
             CREATE TABLE asked.defaults (id int, node text DEFAULT helios_node_for_schema('asked')); \
             CREATE TABLE asked.triggered (id int, node text); \
             CREATE FUNCTION asked.t() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN NEW.node := helios_node_for_schema('asked'); RETURN NEW; END $$; \
             CREATE TRIGGER t BEFORE INSERT ON asked.triggered FOR EACH ROW EXECUTE FUNCTION asked.t(); \
             CREATE FUNCTION public.asked_here(n text) RETURNS text LANGUAGE plpgsql AS \
             'BEGIN RETURN helios_node_for_schema(n); END'",
        )
        .unwrap();
    for sql in [
        "SELECT asked.f('asked')",
        "SELECT asked.g('asked')",
        "SELECT asked.g(n) FROM asked.tenants",
        "SELECT asked.views()",
        "SELECT * FROM asked.v",
        "INSERT INTO asked.defaults VALUES (1)",
        "COPY asked.defaults (id) FROM PROGRAM 'echo 1'",
        "INSERT INTO asked.triggered VALUES (1)",
        "SELECT public.asked_here(n) FROM asked.tenants",
    ] {
        refused(&mut client, sql, "0A000", "");
    }
    assert_eq!(text(&mut client, "SELECT public.asked_here('asked')"), ["node-1"]);
    assert_eq!(
        text(
            &mut client,
            "DO $$ BEGIN IF public.asked_here('asked') <> 'node-1' THEN RAISE 'no'; END IF; END $$; SELECT 1"
        ),
        ["1"]
    );
}

#[test]
fn functions_that_speak_of_the_server_are_refused_beside_a_tenants_table() {
    let mut client = schema("speaks");
    for call in [
        "pg_backend_pid()",
        "inet_server_addr()",
        "inet_server_port()",
        "inet_client_addr()",
        "inet_client_port()",
        "pg_postmaster_start_time()",
        "pg_conf_load_time()",
        "pg_is_in_recovery()",
        "pg_current_wal_lsn()",
        "pg_current_wal_insert_lsn()",
        "pg_current_wal_flush_lsn()",
        "pg_blocking_pids(1)",
        "pg_terminate_backend(1)",
        "pg_cancel_backend(1)",
        "pg_reload_conf()",
        "pg_export_snapshot()",
        "pg_my_temp_schema()",
        "pg_read_file('PG_VERSION')",
        "pg_ls_dir('.')",
        "pg_stat_file('PG_VERSION')",
        "pg_notify('c', 'x')",
        "pg_advisory_lock(1)",
        "pg_try_advisory_lock_shared(1)",
        "pg_advisory_unlock_all()",
    ] {
        for sql in [
            format!("SELECT {call} FROM speaks.tenants"),
            format!("WITH x AS (SELECT {call}) SELECT * FROM x, speaks.tenants"),
        ] {
            refused(&mut client, &sql, "0A000", "in a statement with a distributed table");
        }
    }
    client
        .batch_execute("CREATE TABLE speaks.log (id int, pid int DEFAULT pg_backend_pid())")
        .unwrap();
    refused(&mut client, "INSERT INTO speaks.log VALUES (1)", "0A000", "pg_backend_pid()");
    client.batch_execute("INSERT INTO speaks.log VALUES (1, 2)").unwrap();
    let here = text(&mut client, "SELECT pg_backend_pid()").remove(0);
    client.execute(&format!("UPDATE speaks.log SET pid = {here}"), &[]).unwrap();
    assert_eq!(text(&mut client, "SELECT pid FROM speaks.log"), [here]);
}

#[test]
fn numbers_that_follow_from_a_seed_are_this_sessions() {
    let mut client = schema("seeded");
    let rows = "SELECT count(*) FROM seeded.tenants WHERE random() >= 0";
    client
        .batch_execute("PREPARE early AS SELECT count(*) FROM seeded.tenants WHERE random() >= 0")
        .unwrap();
    client.batch_execute(rows).unwrap();
    client.batch_execute("EXECUTE early").unwrap();
    refused(
        &mut client,
        "SELECT setseed(0.5) FROM seeded.tenants",
        "0A000",
        "in a statement with a distributed table",
    );
    let seed = "SELECT setseed(0.5)";
    let draw = "SELECT random()";
    client.batch_execute(seed).unwrap();
    let first = text(&mut client, draw);
    client.batch_execute(seed).unwrap();
    for sql in [rows, "EXECUTE early", "SELECT 1 FROM seeded.tenants ORDER BY random()"] {
        refused(&mut client, sql, "0A000", "in a statement with a distributed table");
    }
    assert_eq!(text(&mut client, draw), first);
    client
        .batch_execute(
            "CREATE FUNCTION seeded.seeds() RETURNS SETOF int LANGUAGE plpgsql AS \
             'BEGIN PERFORM setseed(0.1); RETURN QUERY SELECT 1 FROM seeded.tenants; END'",
        )
        .unwrap();
    refused(
        &mut client,
        "SELECT f FROM seeded.tenants, seeded.seeds() AS f",
        "0A000",
        "in a function that runs on a node",
    );
    client.batch_execute("DISCARD ALL").unwrap();
    client.batch_execute(rows).unwrap();
}
