//! `helios_check_cluster()` reports objects whose definition on a node differs from this server's.

use helios_tests::{Cluster, text};

use super::smoke_definitions::{EVERYTHING, run};

/// The differences reported for schemas on this node.
pub fn found(client: &mut postgres::Client) -> Vec<String> {
    let query =
        "SELECT detail FROM helios_check_cluster() WHERE \"check\" = 'definitions' AND NOT ok";
    text(client, query)
}

/// A change on the node, the statement that reverts it, and the object that must be reported.
const CHANGES: [(&str, &str, &str); 14] = [
    (
        "ALTER TABLE log ADD more int",
        "ALTER TABLE log DROP more",
        "column more of log exists only on the node",
    ),
    (
        "ALTER TABLE users ALTER mail SET DEFAULT 'x'",
        "ALTER TABLE users ALTER mail DROP DEFAULT",
        "column mail of users differs",
    ),
    (
        "ALTER TABLE users ALTER years TYPE bigint",
        "ALTER TABLE users ALTER years TYPE int",
        "column years of users differs",
    ),
    (
        "CREATE INDEX extra_index ON users (mail)",
        "DROP INDEX extra_index",
        "index extra_index exists only on the node",
    ),
    (
        "ALTER TABLE users ADD CONSTRAINT c CHECK (years < 9)",
        "ALTER TABLE users DROP CONSTRAINT c",
        "constraint c of",
    ),
    (
        "ALTER TABLE users DISABLE TRIGGER stamp",
        "ALTER TABLE users ENABLE TRIGGER stamp",
        "trigger stamp of users differs",
    ),
    (
        "ALTER POLICY mine ON orders USING (true)",
        "ALTER POLICY mine ON orders USING (owner = 1)",
        "policy mine of orders differs",
    ),
    (
        "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DROP FUNCTION one()",
        "function one() exists only on the node",
    ),
    (
        "ALTER TYPE level RENAME VALUE 'low' TO 'l'",
        "ALTER TYPE level RENAME VALUE 'l' TO 'low'",
        "type level differs",
    ),
    (
        "GRANT DELETE ON users TO PUBLIC",
        "REVOKE DELETE ON users FROM PUBLIC",
        "privileges of table users",
    ),
    (
        "ALTER TABLE users SET (fillfactor = 80)",
        "ALTER TABLE users SET (fillfactor = 70)",
        "table users differs",
    ),
    (
        "ALTER SEQUENCE extra INCREMENT 4",
        "ALTER SEQUENCE extra INCREMENT 3",
        "sequence extra differs",
    ),
    (
        "CREATE OR REPLACE VIEW recent AS SELECT u.mail, (o.net + 1)::numeric(10,2) AS net FROM users u JOIN orders o ON o.owner = u.id",
        "",
        "view recent differs",
    ),
    ("DROP VIEW recent", "", "view recent is missing on the node"),
];

#[test]
fn the_check_names_what_a_node_defines_otherwise() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    run(&mut client, EVERYTHING);
    client.batch_execute("CREATE SCHEMA other DISTRIBUTED; CREATE TABLE other.t (x int)").unwrap();
    assert_eq!(found(&mut client), [""; 0], "nothing was changed");
    let mut node = cluster.node_of("everything").connect(testkit::cluster::DATABASE).unwrap();
    node.batch_execute("SET helios.migration_session = on; SET search_path = everything").unwrap();
    for (change, back, object) in CHANGES {
        node.batch_execute(change).unwrap();
        let seen = found(&mut client);
        assert_eq!(seen.len(), 1, "after {change}: {seen:?}");
        assert!(seen[0].contains(&format!("everything.{object}")), "after {change}: {seen:?}");
        assert!(!seen[0].contains("other."), "after {change}: {seen:?}");
        if !back.is_empty() {
            node.batch_execute(back).unwrap();
        }
    }
}
