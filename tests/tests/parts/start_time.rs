//! now() is one value in a transaction on all servers, and nobody but the coordinator decides which.

use helios_tests::Cluster;
use postgres::{Client, NoTls};
use testkit::cluster::DATABASE;

/// Distinct values of now() in the transaction, on the coordinator and on all nodes.
fn values(client: &mut Client) -> i64 {
    client
        .query_one(
            "SELECT count(DISTINCT at) FROM (SELECT now() AS at UNION ALL SELECT at FROM one.f() \
                 UNION ALL SELECT at FROM two.f() UNION ALL SELECT at FROM one.t UNION ALL SELECT at FROM two.t) s",
            &[],
        )
        .unwrap()
        .get(0)
}

#[test]
fn now_is_one_value_in_a_transaction() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    for (schema, node) in [("one", "node-1"), ("two", "node-2")] {
        client
            .batch_execute(&format!(
                "CREATE SCHEMA {schema} DISTRIBUTED ON NODE \"{node}\"; \
                 CREATE TABLE {schema}.t (id int, at timestamptz DEFAULT now()); \
                 CREATE FUNCTION {schema}.f(OUT at timestamptz) SET search_path = {schema} LANGUAGE plpgsql \
                     AS $$ BEGIN at := CURRENT_TIMESTAMP; END $$"
            ))
            .unwrap();
    }
    for isolation in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        client
            .batch_execute(&format!(
                "BEGIN ISOLATION LEVEL {isolation}; SELECT pg_sleep(0.01); \
                 INSERT INTO one.t (id) VALUES (1); SAVEPOINT s; INSERT INTO two.t (id) VALUES (1); \
                 ROLLBACK TO s; SELECT pg_sleep(0.01); INSERT INTO two.t (id) VALUES (2); RELEASE s"
            ))
            .unwrap();
        assert_eq!(values(&mut client), 1, "{isolation}");
        client.batch_execute("COMMIT; TRUNCATE one.t; TRUNCATE two.t").unwrap();
    }
    // In one statement, outside of a block, as well.
    let sql = "SELECT count(DISTINCT at) FROM (SELECT now() AS at UNION ALL SELECT at FROM one.f() \
               UNION ALL SELECT at FROM two.f()) s";
    assert_eq!(client.query_one(sql, &[]).unwrap().get::<_, i64>(0), 1);
    // The next transaction has its own.
    let start = |client: &mut Client| -> std::time::SystemTime {
        client.query_one("SELECT at FROM one.f()", &[]).unwrap().get(0)
    };
    client.batch_execute("BEGIN").unwrap();
    let first = start(&mut client);
    client.batch_execute("COMMIT; BEGIN").unwrap();
    assert!(start(&mut client) > first);
    client.batch_execute("COMMIT").unwrap();
}

#[test]
fn nobody_else_decides_what_now_is() {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA one DISTRIBUTED; CREATE TABLE one.t (id int, at timestamptz DEFAULT now()); \
             INSERT INTO one.t (id) VALUES (1); \
             CREATE FUNCTION one.forge() RETURNS int LANGUAGE plpgsql AS \
                 $$ BEGIN PERFORM set_config('helios.transaction_start', '0', true); RETURN 1; END $$; \
             CREATE PROCEDURE one.forge_after_commit() LANGUAGE plpgsql AS \
                 $$ BEGIN COMMIT; SET LOCAL helios.transaction_start = '0'; END $$",
        )
        .unwrap();
    let forgeries = [
        ("SELECT one.forge()", "42501"),
        ("INSERT INTO one.t SELECT one.forge()", "42501"),
        ("SELECT id + one.forge() FROM one.t", "42501"),
        ("DO $$ BEGIN PERFORM one.forge(); END $$", "42501"),
        ("SET helios.transaction_start = '0'", "42501"),
        ("SET LOCAL helios.transaction_start = '0'", "42501"),
        (
            "CREATE FUNCTION pg_temp.by_clause() RETURNS int LANGUAGE sql \
             SET helios.transaction_start = '0' AS 'SELECT 1'",
            "42501",
        ),
        ("ALTER ROLE CURRENT_USER SET helios.transaction_start = '0'", "42501"),
    ];
    let mut on_node = cluster.nodes()[0].config(DATABASE).connect(NoTls).unwrap();
    for session in [&mut client, &mut on_node] {
        for block in ["", "BEGIN; ", "BEGIN; SELECT count(*) FROM one.t; "] {
            for (forgery, code) in forgeries {
                let sql = format!("{block}{forgery}");
                let error = session.batch_execute(&sql).expect_err(&sql);
                let found = error.code().map(|code| code.code().to_owned());
                assert_eq!(found.as_deref(), Some(code), "{sql}: {error:?}");
                session.batch_execute("ROLLBACK").unwrap();
            }
        }
        let error = session.batch_execute("CALL one.forge_after_commit()").unwrap_err();
        assert_eq!(error.code().map(|code| code.code()), Some("42501"), "{error:?}");
    }
}
