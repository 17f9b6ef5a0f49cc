//! Plain schemas behave the same on a cluster with nodes as on a plain server.

use helios_tests::Cluster;

/// The hooks see the name in another form than in other statements on types.
#[test]
fn types_of_plain_schemas_move() {
    let mut client = Cluster::shared().connect();
    client
        .batch_execute(
            "CREATE SCHEMA plain_from; CREATE SCHEMA plain_to; \
             CREATE DOMAIN plain_from.positive AS int CHECK (VALUE > 0); \
             CREATE TYPE plain_from.pair AS (a int, b int); \
             ALTER DOMAIN plain_from.positive SET SCHEMA plain_to; \
             ALTER TYPE plain_from.pair SET SCHEMA plain_to",
        )
        .unwrap();
    let text: String = client
        .query_one("SELECT ((1, 2)::plain_to.pair)::text || 3::plain_to.positive", &[])
        .unwrap()
        .get(0);
    assert_eq!(text, "(1,2)3");
    client.batch_execute("DROP SCHEMA plain_from, plain_to CASCADE").unwrap();
}

/// Calls are redirected to functions of Helios only if the sequence may be on a node.
#[test]
fn plans_of_plain_sequences_are_the_servers_own() {
    let mut client = Cluster::shared().connect();
    client.batch_execute("CREATE SEQUENCE plain_numbers").unwrap();
    let query = "EXPLAIN (VERBOSE, COSTS off) SELECT nextval('plain_numbers')";
    let rows = client.query(query, &[]).unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(lines, ["Result", "  Output: nextval('plain_numbers'::regclass)"]);
    client.batch_execute("DROP SEQUENCE plain_numbers").unwrap();
}

/// Since PostgreSQL 16, a rewritten query does not mention views that read no table.
#[test]
fn view_without_tables_runs_on_its_node() {
    let mut client = Cluster::shared().connect();
    client
        .batch_execute(
            "CREATE SCHEMA tableless DISTRIBUTED; \
             CREATE VIEW tableless.v AS SELECT 1 AS one, current_setting('port') AS port",
        )
        .unwrap();
    let port: String = client.query_one("SELECT port FROM tableless.v", &[]).unwrap().get(0);
    assert_eq!(port, Cluster::shared().node_of("tableless").port.to_string());
    client.batch_execute("DROP SCHEMA tableless CASCADE").unwrap();
}

/// Objects created from this server's tables, or from temporary ones, stay on this server.
#[test]
fn what_rests_on_local_tables_stays_here() {
    let mut client = Cluster::shared().connect();
    client
        .batch_execute(
            "CREATE TABLE plain_rows (a int, b text); INSERT INTO plain_rows VALUES (1, 'x'); \
             CREATE TEMP TABLE plain_temp (a int); INSERT INTO plain_temp VALUES (2); \
             CREATE TYPE plain_nested AS (r plain_rows); \
             CREATE FUNCTION plain_f(r plain_rows) RETURNS text LANGUAGE sql AS 'SELECT r.b'; \
             CREATE FUNCTION plain_g() RETURNS SETOF plain_temp LANGUAGE sql \
                 AS 'SELECT * FROM plain_temp'; \
             CREATE DOMAIN plain_many AS plain_temp[]; \
             CREATE FUNCTION plain_h(n plain_nested) RETURNS int LANGUAGE sql AS 'SELECT (n).r.a'",
        )
        .unwrap();
    let query = "SELECT plain_f(r), (plain_g()).a, plain_h(ROW(r)::plain_nested) FROM plain_rows r";
    let row = client.query_one(query, &[]).unwrap();
    assert_eq!((row.get(0), row.get(1), row.get(2)), ("x", 2, 1));
    let query = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'plain\\__'";
    let on_node: i64 = Cluster::shared().connect_to_node(1).query_one(query, &[]).unwrap().get(0);
    assert_eq!(on_node, 0);
    client.batch_execute("DROP TABLE plain_temp CASCADE; DROP TABLE plain_rows CASCADE").unwrap();
}
