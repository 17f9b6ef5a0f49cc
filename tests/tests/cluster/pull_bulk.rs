//! Chunks of a large copy between servers: frozen if possible, and read by one session on the source.

use crate::pull_rows::{both, bulk, cluster, failure, rows, source_address};

/// All chunks of a large copy are read in one session, which holds the snapshot for the duration of the copy.
#[test]
fn rows_of_a_bulk_copy_are_frozen_and_come_by_one_session() {
    let (mut source, mut target) = both(
        "CREATE SCHEMA bulk; CREATE TABLE bulk.t (i int, gone int, t text); ALTER TABLE bulk.t DROP gone",
    );
    let fill = "INSERT INTO bulk.t SELECT i, repeat('x', i % 3000) FROM generate_series(1, 5000) i";
    source.batch_execute(fill).unwrap();
    source.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").unwrap();
    let snapshot: String = source.query_one("SELECT pg_export_snapshot()", &[]).unwrap().get(0);
    target.query(&bulk("bulk.t", Some(&snapshot), (0, Some(10))), &[]).unwrap();
    source.batch_execute("COMMIT").unwrap();
    target.query(&bulk("bulk.t", Some(&snapshot), (10, None)), &[]).unwrap();
    assert_eq!(rows(&mut source, "bulk.t"), rows(&mut target, "bulk.t"));
    target.batch_execute("ANALYZE bulk.t").unwrap();
    let seen = "SELECT relallvisible, relpages FROM pg_class WHERE oid = 'bulk.t'::regclass";
    let row = target.query_one(seen, &[]).unwrap();
    let (visible, pages): (i32, i32) = (row.get(0), row.get(1));
    // A page filled by two chunks is marked by the next vacuum.
    assert!(visible >= pages - 2 && pages > 500, "{visible} of {pages}");
    // A backend without that session cannot use the snapshot any more.
    let gone =
        failure(&mut cluster().connect_to_node(2), &bulk("bulk.t", Some(&snapshot), (0, None)));
    assert_eq!(gone.code().code(), "22023", "{gone:?}");
}

/// Tables that need work for each row are left to COPY.
#[test]
fn a_bulk_copy_minds_indexes_defaults_and_generated_columns() {
    let (mut source, mut target) = both(
        "CREATE SCHEMA minds; CREATE TABLE minds.indexed (i int UNIQUE);
         CREATE TABLE minds.computed (i int, g int GENERATED ALWAYS AS (i * 2) STORED);
         CREATE TABLE minds.preset (i int, d int DEFAULT 7)",
    );
    source
        .batch_execute("INSERT INTO minds.indexed VALUES (1); INSERT INTO minds.computed VALUES (2); INSERT INTO minds.preset VALUES (3, 4)")
        .unwrap();
    for table in ["minds.indexed", "minds.computed"] {
        target.query(&bulk(table, None, (0, None)), &[]).unwrap();
        assert_eq!(rows(&mut source, table), rows(&mut target, table));
    }
    let twice = failure(&mut target, &bulk("minds.indexed", None, (0, None)));
    assert_eq!(twice.code().code(), "23505", "{twice:?}");
    let some = format!(
        "SELECT FROM helios.pull_rows('{}', NULL, 'minds.preset', '{{i}}', 0, NULL, bulk => true)",
        source_address()
    );
    target.query(&some, &[]).unwrap();
    assert_eq!(rows(&mut target, "minds.preset"), ["(3,7)"]);
}
