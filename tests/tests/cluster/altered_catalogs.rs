//! Tables of schema `helios` that a superuser has altered by hand: their columns are found by name and type, wherever
//! they are.

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
