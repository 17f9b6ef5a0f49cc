//! A row whose columns differ from those the client was told is an error that says so, whichever way it takes: unchanged,
//! decoded, from a cursor, from RETURNING, by COPY.

use helios_tests::Cluster;
use postgres::{Client, Error};

/// `t (id int, what text)` with two rows in a schema on node 1.
fn schema(name: &str) -> Client {
    let mut client = Cluster::shared().connect();
    client
        .batch_execute(&format!(
            "CREATE SCHEMA {name} DISTRIBUTED ON NODE \"node-1\"; SET search_path = {name}; \
             CREATE TABLE t (id int, what text); INSERT INTO t VALUES (1, 'one'), (2, 'two'); \
             CREATE FUNCTION f(i int) RETURNS int LANGUAGE sql AS 'SELECT i + 1'"
        ))
        .unwrap();
    client
}

/// Changes a definition on the node only, which users are not supposed to do.
fn on_node_alone(schema: &str, sql: &str) {
    let mut node = Cluster::shared().connect_to_node(1);
    node.batch_execute(&format!(
        "SET helios.migration_session = on; SET search_path = {schema}; {sql}"
    ))
    .unwrap();
}

#[track_caller]
fn assert_told(result: Result<(), Error>, what: &str) {
    let error = result.expect_err(what);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{what}: {error:?}"));
    assert_eq!(error.code().code(), "42804", "{what}: {error:?}");
    assert!(error.message().contains("node \"node-1\""), "{what}: {error:?}");
    assert!(error.detail().is_some(), "{what}: {error:?}");
    assert!(
        error.hint().is_some_and(|h| h.contains("helios_check_cluster()")),
        "{what}: {error:?}"
    );
}

const CHANGES: [&str; 6] = [
    "ALTER TABLE t ADD more int",
    "ALTER TABLE t DROP what",
    "ALTER TABLE t ALTER id TYPE bigint",
    "ALTER TABLE t RENAME what TO that",
    "ALTER TABLE t DROP id, ADD id int",
    "ALTER TABLE t ALTER what TYPE date USING NULL",
];

const WAYS: [&str; 9] = [
    "SELECT * FROM t",
    "BEGIN; SELECT * FROM t; COMMIT",
    "DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM t LOOP END LOOP; END $$",
    "BEGIN; DECLARE c CURSOR FOR SELECT * FROM t; FETCH 1 FROM c; COMMIT",
    "UPDATE t SET id = id RETURNING *",
    "BEGIN; DELETE FROM t RETURNING *; COMMIT",
    "COPY (SELECT * FROM t) TO '/dev/null'",
    "COPY t TO '/dev/null'",
    "CREATE TEMP TABLE mine AS SELECT * FROM t",
];

#[test]
fn columns_that_differ_are_an_error_on_every_way() {
    for (n, change) in CHANGES.iter().enumerate() {
        let name = format!("told_{n}");
        let mut client = schema(&name);
        let mut prepared = schema(&format!("{name}_p"));
        let statement = prepared.prepare("SELECT * FROM t WHERE $1 > 0").unwrap();
        for _ in 0..3 {
            assert_eq!(prepared.query(&statement, &[&1]).unwrap().len(), 2);
        }
        on_node_alone(&name, change);
        on_node_alone(&format!("{name}_p"), change);
        for way in WAYS {
            assert_told(client.batch_execute(way), &format!("{way} after {change}"));
            client.batch_execute("ROLLBACK").unwrap();
            let other: i32 = client.query_one("SELECT f(1)", &[]).unwrap().get(0);
            assert_eq!(other, 2, "the session is unusable after {way}");
        }
        let again = prepared.query(&statement, &[&1]).map(drop);
        assert_told(again, &format!("prepared before {change}"));
        let first = client.query("SELECT * FROM t WHERE $1 > 0", &[&1]).map(drop);
        assert_told(first, &format!("prepared after {change}"));
        let copied = client.copy_in("COPY t FROM STDIN").map(drop);
        assert_told(copied, &format!("COPY FROM after {change}"));
    }
}

#[test]
fn values_that_differ_are_an_error() {
    let mut client = schema("told_value");
    on_node_alone(
        "told_value",
        "DROP FUNCTION f; CREATE FUNCTION f(i int) RETURNS text LANGUAGE sql AS 'SELECT i::text'",
    );
    for way in ["SELECT f(1)", "DO $$ DECLARE x int; BEGIN x := f(1); END $$"] {
        assert_told(client.batch_execute(way), way);
    }
}

#[test]
fn a_statement_with_other_columns_on_another_path_is_another_statement() {
    let mut client = schema("told_path");
    client
        .batch_execute(
            "CREATE SCHEMA told_path2 DISTRIBUTED ON NODE \"node-1\"; \
             CREATE TYPE told_path.mood AS ENUM ('sad'); CREATE TYPE told_path2.mood AS ENUM ('sad', 'ok'); \
             CREATE TABLE told_path.m (id int, mood told_path.mood); \
             CREATE TABLE told_path2.m (id int, mood told_path2.mood); \
             INSERT INTO told_path.m VALUES (1, 'sad'); INSERT INTO told_path2.m VALUES (1, 'ok')",
        )
        .unwrap();
    // PL/pgSQL replans a statement if the search_path has changed; the text sent to the node is the same.
    for path in ["told_path", "told_path2", "told_path", "told_path2"] {
        client.batch_execute(&format!("SET search_path = {path}")).unwrap();
        for _ in 0..3 {
            let sql = "DO $$ DECLARE i int := 1; r record; BEGIN SELECT * INTO r FROM m WHERE id = i; END $$";
            client.batch_execute(sql).unwrap();
            let rows = client.query("SELECT mood::text, m.* FROM m WHERE id = $1", &[&1]).unwrap();
            let mood: &str = rows[0].get(0);
            assert_eq!(mood, if path == "told_path" { "sad" } else { "ok" });
        }
    }
}
