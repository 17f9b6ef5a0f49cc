//! Tables in schema `helios` altered by a superuser: columns are found by name and type, at whatever
//! position.

use helios_tests::{Cluster, text};

#[test]
fn columns_are_found_wherever_they_are() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "ALTER TABLE helios.node ADD first text, ADD second int DEFAULT 4; \
             ALTER TABLE helios.fence ADD first text, DROP keeps, ADD keeps boolean NOT NULL DEFAULT false; \
             ALTER TABLE helios.transaction ADD first text, DROP node, ADD node integer NOT NULL DEFAULT 0; \
             CREATE SCHEMA one DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE one.t (x int); \
             CREATE SCHEMA two DISTRIBUTED ON NODE \"node-2\"; CREATE TABLE two.t (x int)",
        )
        .unwrap();
    let mut other = cluster.connect();
    other
        .batch_execute("BEGIN; INSERT INTO one.t VALUES (1); INSERT INTO two.t VALUES (2); COMMIT")
        .unwrap();
    assert_eq!(text(&mut other, "SELECT x FROM one.t"), ["1"]);
    assert_eq!(text(&mut other, "SELECT x FROM two.t"), ["2"]);
    let places = "SELECT helios_node_for_schema('one'), helios_node_for_schema('two')";
    let row = other.query_one(places, &[]).unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("node-1", "node-2"));
}

/// The tables that a backend reads directly, without SQL.
const READ: [&str; 10] = [
    "cluster",
    "credential",
    "fence",
    "identity",
    "migration",
    "node",
    "reference_table",
    "replica",
    "schema",
    "shard",
];

#[test]
fn open_sessions_go_on_when_columns_are_added() {
    let cluster = Cluster::start(2);
    let mut open = cluster.connect();
    open.batch_execute(
        "CREATE SCHEMA one DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE one.t (x int); \
         CREATE SCHEMA two DISTRIBUTED ON NODE \"node-2\"; CREATE TABLE two.t (x int); \
         CREATE TABLE shared (id int PRIMARY KEY); SELECT helios_create_reference_table('shared'); \
         PREPARE sum AS SELECT sum(x)::text FROM one.t",
    )
    .unwrap();
    open.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").unwrap();
    open.batch_execute("INSERT INTO one.t VALUES (1)").unwrap();
    let add = |table| {
        format!(
            "ALTER TABLE helios.{table} ADD added int DEFAULT 7, ADD more text DEFAULT 'more'; "
        )
    };
    // Now add columns before some that are read and written.
    let moved = "ALTER TABLE helios.transaction ADD added int, DROP node, ADD node integer NOT NULL DEFAULT 0; \
                 ALTER TABLE helios.cluster DROP coordinator, ADD coordinator text; \
                 ALTER TABLE helios.identity DROP coordinator, ADD coordinator text";
    let all = READ.map(add).concat();
    cluster.connect().batch_execute(&format!("BEGIN; {all}{moved}; COMMIT")).unwrap();
    open.batch_execute("INSERT INTO two.t VALUES (2); INSERT INTO shared VALUES (3); COMMIT")
        .unwrap();
    open.batch_execute(
        "CREATE SCHEMA three DISTRIBUTED ON NODE \"node-2\"; CREATE TABLE three.t AS SELECT 4 AS x",
    )
    .unwrap();
    assert_eq!(text(&mut open, "EXECUTE sum"), ["1"]);
    for client in [&mut open, &mut cluster.connect()] {
        assert_eq!(text(client, "SELECT x FROM two.t"), ["2"]);
        assert_eq!(text(client, "SELECT x FROM three.t"), ["4"]);
        let places =
            "SELECT concat_ws(' ', helios_node_for_schema('one'), helios_node_for_schema('three'))";
        assert_eq!(text(client, places), ["node-1 node-2"]);
    }
    for node in [1, 2] {
        let mut there = cluster.node(node).connect("helios").unwrap();
        assert_eq!(text(&mut there, "SELECT id FROM shared"), ["3"]);
    }
}

#[test]
fn a_null_among_the_nodes_is_an_error_and_no_empty_table() {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA one DISTRIBUTED; CREATE TABLE one.t AS SELECT 1 AS x; \
             ALTER TABLE helios.node ALTER weight DROP NOT NULL; \
             UPDATE helios.node SET weight = NULL WHERE NOT is_local",
        )
        .unwrap();
    let error = cluster.connect().query("SELECT x FROM one.t", &[]).unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("XX001"), "{error:?}");
    assert!(error.as_db_error().is_some_and(|e| e.message().contains("helios.node")), "{error:?}");
}
