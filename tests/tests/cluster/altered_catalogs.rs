//! Tables of schema `helios` that a superuser has altered by hand: their columns are found by name and type, wherever
//! they are, and what no longer fits is an error that names it. Never is a value read as something that it is not.

use helios_tests::{Cluster, text};
use postgres::Client;
use postgres::error::{DbError, SqlState};

/// SQLSTATE, message, detail and hint of the refusal by a new session of a server.
fn refusal(connect: impl Fn() -> Client, sql: &str) -> (DbError, String) {
    let error = connect().batch_execute(sql).expect_err("the table does not fit");
    let error = error.as_db_error().unwrap_or_else(|| panic!("no answer: {error}")).clone();
    let text = format!("{} / {:?} / {:?}", error.message(), error.detail(), error.hint());
    (error, text)
}

/// Alters a table of the coordinator, runs a statement, and puts the table back.
fn altered(cluster: &Cluster, table: &str, alter: &str, undo: &str, sql: &str, detail: &str) {
    let mut admin = cluster.connect();
    admin.batch_execute(alter).unwrap();
    let (error, text) = refusal(|| cluster.connect(), sql);
    admin.batch_execute(undo).unwrap();
    assert_eq!(error.code(), &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "{alter}: {text}");
    assert!(text.contains(&format!("table helios.{table} is not as")), "{alter}: {text}");
    assert!(text.contains(detail), "{alter}: {text}");
    assert!(text.contains("ALTER EXTENSION helios UPDATE"), "{alter}: {text}");
    cluster.connect().batch_execute(sql).unwrap_or_else(|error| panic!("{undo}: {error}"));
}

#[test]
fn a_table_that_lost_a_column_or_changed_its_type_is_refused() {
    let cluster = Cluster::start(2);
    cluster
        .connect()
        .batch_execute(
            "CREATE SCHEMA one DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE one.t (x int); \
             CREATE SCHEMA two DISTRIBUTED ON NODE \"node-2\"; CREATE TABLE two.t (x int)",
        )
        .unwrap();
    let read = "SELECT count(*) FROM one.t";
    let both = "BEGIN; INSERT INTO one.t VALUES (1); INSERT INTO two.t VALUES (1); COMMIT";

    let rename = "ALTER TABLE helios.node RENAME weight TO heaviness";
    let undo = "ALTER TABLE helios.node RENAME heaviness TO weight";
    altered(&cluster, "node", rename, undo, read, "no column \\\"weight\\\"");
    // A number where there was a pointer to a text.
    let retype =
        "ALTER TABLE helios.fence DROP CONSTRAINT fence_kind_check, ALTER kind TYPE bigint USING 7";
    let undo = "ALTER TABLE helios.fence ALTER kind TYPE text USING 'writes'";
    let define = "CREATE TABLE one.u (x int); DROP TABLE one.u";
    altered(
        &cluster,
        "fence",
        retype,
        undo,
        define,
        "Column \\\"kind\\\" is of type bigint, not text",
    );
    let retype = "ALTER TABLE helios.credential ALTER role TYPE text";
    let undo = "ALTER TABLE helios.credential ALTER role TYPE name";
    altered(
        &cluster,
        "credential",
        retype,
        undo,
        read,
        "Column \\\"role\\\" is of type text, not name",
    );
    let drop = "ALTER TABLE helios.identity DROP seed";
    let undo = "ALTER TABLE helios.identity ADD seed text NOT NULL DEFAULT gen_random_uuid()::text";
    altered(
        &cluster,
        "identity",
        drop,
        undo,
        "SELECT helios_create_schema('three')",
        "no column \\\"seed\\\"",
    );

    // Commit records are written without SQL: a column that they do not fill must not stay empty.
    let add = "ALTER TABLE helios.transaction ADD note text NOT NULL DEFAULT 'none'";
    let undo = "ALTER TABLE helios.transaction DROP note";
    altered(&cluster, "transaction", add, undo, both, "column \\\"note\\\"");
}

#[test]
fn columns_are_found_wherever_they_are() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "ALTER TABLE helios.node ADD first text, ADD second int DEFAULT 4; \
             ALTER TABLE helios.fence ADD first text, DROP keeps, ADD keeps boolean NOT NULL DEFAULT false; \
             ALTER TABLE helios.transaction ADD first text, DROP node, ADD node integer NOT NULL; \
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
fn null_where_there_is_none_is_named() {
    let cluster = Cluster::start(1);
    let mut admin = cluster.connect();
    let make = "CREATE SCHEMA one DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE one.t (x int); \
                ALTER TABLE helios.node ALTER weight DROP NOT NULL; UPDATE helios.node SET weight = NULL";
    admin.batch_execute(make).unwrap();
    let (error, seen) = refusal(|| cluster.connect(), "SELECT FROM one.t");
    assert_eq!(error.code(), &SqlState::DATA_CORRUPTED, "{seen}");
    assert!(seen.contains("null value in column \"weight\" of table helios.node"), "{seen}");
}
