//! Functions that write, in read-only transactions: refused on the node as on one server.

use helios_tests::{Cluster, PlainServer};
use postgres::Client;

const CASES: [&str; 12] = [
    "SET default_transaction_read_only = on; SELECT ro.f()",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SELECT ro.f()",
    "INSERT INTO ro.t VALUES (2)",
    "CALL ro.p()",
    "SET transaction_read_only = off; SELECT ro.f()",
    "RESET default_transaction_read_only",
    "SELECT ro.f()",
    "SET TRANSACTION READ ONLY; SELECT ro.f()",
    "BEGIN; SELECT ro.f(); SET transaction_read_only = on; SELECT ro.f()",
    "SELECT ro_here.narrow()",
    "BEGIN READ ONLY; SELECT ro.f()",
];

fn outcomes(client: &mut Client, distributed: &str) -> Vec<String> {
    client
        .batch_execute(&format!(
            "CREATE SCHEMA ro {distributed}; CREATE TABLE ro.t (x int); CREATE SCHEMA ro_here; \
             CREATE FUNCTION ro.f() RETURNS text LANGUAGE sql AS \
             'INSERT INTO ro.t VALUES (1) RETURNING current_setting(''transaction_isolation'')'; \
             CREATE PROCEDURE ro.p() LANGUAGE sql AS 'INSERT INTO ro.t VALUES (1)'; \
             CREATE FUNCTION ro_here.narrow() RETURNS text LANGUAGE plpgsql AS \
             'BEGIN SET LOCAL transaction_read_only = on; RETURN ro.f(); END'"
        ))
        .unwrap();
    let mut outcomes = Vec::new();
    for isolation in ["read committed", "repeatable read", "serializable"] {
        client
            .batch_execute(&format!("SET default_transaction_isolation = '{isolation}'"))
            .unwrap();
        for sql in CASES {
            let outcome = client.batch_execute(sql).map_err(|error| {
                let error = error.as_db_error().unwrap();
                format!("{} {}", error.code().code(), error.message())
            });
            client.batch_execute("ROLLBACK").unwrap();
            outcomes.push(format!("{isolation}: {sql}: {outcome:?}"));
        }
        outcomes.extend(helios_tests::text(client, "SELECT ro.f()"));
        client.batch_execute("RESET ALL").unwrap();
    }
    outcomes.extend(helios_tests::text(client, "SELECT count(*) FROM ro.t"));
    outcomes
}

#[test]
fn read_only_and_isolation_follow_without_a_block() {
    let cluster = Cluster::shared();
    let expected = outcomes(&mut PlainServer::shared().connect(), "");
    let seen = outcomes(&mut cluster.connect(), "DISTRIBUTED");
    assert!(expected.iter().any(|outcome| outcome.contains("25006")), "{expected:#?}");
    for (expected, seen) in expected.iter().zip(&seen) {
        assert_eq!(expected, seen);
    }
}
