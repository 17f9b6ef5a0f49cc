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
fn functions_of_helios_run_here_over_rows_of_a_node() {
    let mut client = schema("asks");
    let slot = text(&mut client, "SELECT helios_key_slot('asks')").remove(0);
    for (sql, answer) in [
        ("SELECT helios_node_for_schema(n) FROM asks.tenants", "node-1"),
        ("SELECT n FROM asks.tenants WHERE helios_node_for_schema(n) = 'node-1'", "asks"),
        ("SELECT n, (SELECT count(*) FROM helios_active_migrations()) FROM asks.tenants", "asks|0"),
        (
            "WITH x AS (SELECT helios_node_for_schema('asks') AS node) SELECT * FROM x, asks.tenants",
            "node-1|asks|1",
        ),
        ("SELECT n FROM asks.tenants ORDER BY helios_node_for_schema(n)", "asks"),
        (
            "SELECT t.n, s.name FROM asks.tenants t JOIN helios_nodes s ON s.name = 'node-1'",
            "asks|node-1",
        ),
        (
            "SELECT count(*) FROM asks.tenants t JOIN helios_shards s ON true WHERE s.node = 'no such'",
            "0",
        ),
        (
            "INSERT INTO asks.tenants VALUES (helios_node_for_schema('asks'), 2) RETURNING n",
            "node-1",
        ),
        ("SELECT DISTINCT helios_key_slot('asks') FROM asks.tenants", &slot),
    ] {
        let found = client.simple_query(sql).unwrap();
        let rows: Vec<String> = found
            .iter()
            .filter_map(|message| match message {
                postgres::SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).filter_map(|i| row.get(i)).collect::<Vec<_>>().join("|"))
                }
                _ => None,
            })
            .collect();
        assert_eq!(rows, [answer], "{sql}");
    }
    let update = "UPDATE asks.tenants SET n = helios_node_for_schema(n)";
    refused(&mut client, update, "0A000", "helios_node_for_schema()");
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
        "COPY asked.defaults (id) FROM PROGRAM 'echo 1'",
        "INSERT INTO asked.triggered VALUES (1)",
        "SELECT public.asked_here(n) FROM asked.tenants",
    ] {
        refused(&mut client, sql, "0A000", "");
    }
    // What the statement itself says is computed here.
    assert_eq!(text(&mut client, "SELECT node FROM asked.v"), ["node-1"]);
    client.batch_execute("INSERT INTO asked.defaults VALUES (1)").unwrap();
    assert_eq!(text(&mut client, "SELECT node FROM asked.defaults"), ["node-1"]);
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
fn functions_that_speak_of_the_server_speak_of_this_one() {
    let mut client = schema("speaks");
    for call in [
        "pg_backend_pid()",
        "inet_server_port()",
        "inet_client_port()",
        "pg_postmaster_start_time()",
        "pg_conf_load_time()",
        "pg_is_in_recovery()",
        "pg_blocking_pids(1)",
        "pg_my_temp_schema()",
        "pg_read_file('PG_VERSION')",
        "pg_try_advisory_lock_shared(1)",
        "(SELECT count(*) FROM pg_ls_dir('.'))",
    ] {
        let own = text(&mut client, &format!("SELECT ({call})::text"));
        for sql in [
            format!("SELECT ({call})::text FROM speaks.tenants"),
            format!("WITH x AS (SELECT ({call})::text) SELECT x.* FROM x, speaks.tenants"),
        ] {
            assert_eq!(text(&mut client, &sql), own, "{sql}");
        }
    }
    for call in ["pg_notify('c', 'x')", "pg_advisory_unlock_all()", "pg_terminate_backend(1)"] {
        let sql = format!("UPDATE speaks.tenants SET pid = 1 WHERE ({call}) IS NULL");
        refused(&mut client, &sql, "0A000", "in a statement with a distributed table");
    }
    client
        .batch_execute(
            "CREATE TABLE speaks.log (id int, pid int DEFAULT pg_backend_pid()); \
             INSERT INTO speaks.log VALUES (1)",
        )
        .unwrap();
    let here = text(&mut client, "SELECT pg_backend_pid()").remove(0);
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
    let draw = "SELECT random()";
    for seed in ["SELECT setseed(0.5)", "SELECT setseed(0.5) FROM seeded.tenants"] {
        client.batch_execute(seed).unwrap();
        let first = text(&mut client, draw);
        client.batch_execute("SELECT setseed(0.5)").unwrap();
        // One number for the only row.
        for sql in ["SELECT random() FROM seeded.tenants", "EXECUTE early", rows] {
            let seeded = text(&mut client, sql);
            if sql.starts_with("SELECT random()") {
                assert_eq!(seeded, first, "{sql}");
            }
        }
    }
    client.batch_execute("SELECT setseed(0.5)").unwrap();
    let first = text(&mut client, draw);
    client.batch_execute("SELECT setseed(0.5)").unwrap();
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
