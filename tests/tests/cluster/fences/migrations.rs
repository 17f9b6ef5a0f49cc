//! Operations of migrations themselves pass the fence.

use helios_tests::{BOUND, define_on_node, wait_until};
use testkit::server::HOST;

use super::{cluster, fence, refused};

#[test]
fn replication_and_pulled_rows_pass_the_fence() {
    let cluster = cluster();
    let (mut source, mut target) = (cluster.connect_to_node(1), cluster.connect_to_node(2));
    define_on_node(
        &mut target,
        "CREATE SCHEMA f; CREATE TABLE f.t (id int PRIMARY KEY, x int); CREATE TABLE f.log (t text)",
    );
    source.batch_execute("INSERT INTO f.log VALUES ('pulled')").unwrap();
    fence(&mut target, "writes");
    refused(&mut target, "INSERT INTO f.t VALUES (1)");
    let port = cluster.node(1).port;
    let pull = format!(
        r#"SELECT * FROM helios.pull_rows('{{"name": "node-1", "hosts": ["{HOST}"], "ports": [{port}],
           "database": "helios", "user": "postgres"}}', NULL, 'f.log', '{{t}}', 0, NULL)"#
    );
    assert_eq!(target.query_one(&pull, &[]).unwrap().get::<_, i64>(0), 1);
    source.batch_execute("CREATE PUBLICATION p FOR TABLE f.t, helios.migration_marker").unwrap();
    target
        .batch_execute(&format!(
            "CREATE SUBSCRIPTION p CONNECTION 'host={HOST} port={port} dbname=helios user=postgres' PUBLICATION p"
        ))
        .unwrap();
    source.batch_execute("INSERT INTO helios.migration_marker VALUES (7, 'forward', 1)").unwrap();
    wait_until("the rows have arrived", BOUND, || {
        let query =
            "SELECT (SELECT count(*) FROM f.t), (SELECT count(*) FROM helios.migration_marker)";
        let row = target.query_one(query, &[]).unwrap();
        let seen = (row.get::<_, i64>(0), row.get::<_, i64>(1));
        if seen == (10, 1) { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    source.batch_execute("UPDATE f.t SET x = 77 WHERE id = 1; TRUNCATE f.log").unwrap();
    wait_until("the update has arrived", BOUND, || {
        let x: i32 = target.query_one("SELECT x FROM f.t WHERE id = 1", &[]).unwrap().get(0);
        if x == 77 { Ok(()) } else { Err(format!("{x}")) }
    });
    target.batch_execute("DROP SUBSCRIPTION p").unwrap();
}

/// In a migration's session, the coordinator's shells are ordinary tables.
#[test]
fn a_migrations_session_works_on_what_is_here() {
    let cluster = cluster();
    let mut client = cluster.connect();
    client.batch_execute("SET helios.migration_session = on").unwrap();
    let count = "SELECT count(*) FROM f.t";
    assert_eq!(client.query_one(count, &[]).unwrap().get::<_, i64>(0), 0);
    client
        .batch_execute(
            "INSERT INTO f.t VALUES (1, 1), (2, 2); COMMENT ON TABLE f.t IS 'here alone'",
        )
        .unwrap();
    assert_eq!(client.query_one(count, &[]).unwrap().get::<_, i64>(0), 2);
    client.batch_execute("TRUNCATE f.t; SET helios.migration_session = off").unwrap();
    assert_eq!(client.query_one(count, &[]).unwrap().get::<_, i64>(0), 10);
    let comment = "SELECT obj_description('f.t'::regclass)";
    let on_node: Option<String> =
        cluster.connect_to_node(1).query_one(comment, &[]).unwrap().get(0);
    assert_eq!(on_node, None);
}
