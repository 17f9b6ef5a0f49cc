//! Statements that change or lock reference tables with rows of tenants, each as on one server, and on every node.

use helios_tests::{Cluster, PlainServer, text};
use postgres::Client;

use crate::reference::same_everywhere;

fn set_up(client: &mut Client, distributed: bool) {
    let reference = |table: &str| match distributed {
        true => format!("SELECT helios_create_reference_table('{table}');"),
        false => String::new(),
    };
    client
        .batch_execute(&format!(
            "CREATE SCHEMA be; CREATE TABLE be.ref (id int PRIMARY KEY, name text, n int DEFAULT 0); \
             INSERT INTO be.ref SELECT i, 'r' || i FROM generate_series(1, 10) i; \
             CREATE TABLE be.other (id int PRIMARY KEY, name text); INSERT INTO be.other VALUES (1, 'o'); \
             CREATE TABLE be.here (id int, name text); INSERT INTO be.here VALUES (1, 'h'), (20, 'h'); {} {}",
            reference("be.ref"),
            reference("be.other")
        ))
        .unwrap();
    for (schema, node) in [("be_a", 1), ("be_b", 2)] {
        let clause = match distributed {
            true => format!(" DISTRIBUTED ON NODE \"node-{node}\""),
            false => String::new(),
        };
        client
            .batch_execute(&format!(
                "CREATE SCHEMA {schema}{clause}; CREATE TABLE {schema}.t (id int PRIMARY KEY, name text, ref int REFERENCES be.ref); \
                 INSERT INTO {schema}.t SELECT i, '{schema}' || i, i FROM generate_series(1, 5) i; \
                 CREATE TABLE {schema}.big AS SELECT i AS id FROM generate_series(1, 3000) i"
            ))
            .unwrap();
    }
}

const STATEMENTS: [&str; 23] = [
    "INSERT INTO be.ref SELECT id + 100, name FROM be_a.t RETURNING id, name",
    "INSERT INTO be.ref SELECT id + 100 FROM be_a.big UNION SELECT id + 5000 FROM be_b.big",
    "DELETE FROM be.ref WHERE id IN (SELECT id + 100 FROM be_a.big UNION SELECT id + 5000 FROM be_b.big WHERE id > 6)",
    "INSERT INTO be.ref (id, name) SELECT a.id, b.name FROM be_a.t a JOIN be_b.t b USING (id) ON CONFLICT (id) DO UPDATE SET name = excluded.name || ref.name",
    "INSERT INTO be.ref (id, name) SELECT a.id, a.name FROM be_a.t a ON CONFLICT DO NOTHING",
    "UPDATE be.ref SET name = t.name FROM be_a.t WHERE t.ref = ref.id RETURNING ref.id, t.name",
    "UPDATE be.ref SET n = (SELECT count(*) FROM be_a.t JOIN be.ref r ON r.id = t.ref WHERE t.id > ref.id)",
    "UPDATE be.ref SET n = n + 1 WHERE EXISTS (SELECT FROM be_a.t a JOIN be_b.t b USING (id) WHERE a.ref = ref.id)",
    "UPDATE be.ref SET n = b.id FROM be_a.t a, be_b.t b, be.here h WHERE a.ref = ref.id AND b.id = a.id AND h.id = b.id",
    "DELETE FROM be.ref USING be_b.t WHERE ref.id = t.id + 5 RETURNING ref.*, t.name",
    "DELETE FROM be.ref WHERE id NOT IN (SELECT ref FROM be_a.t UNION SELECT ref FROM be_b.t)",
    "DELETE FROM be.ref USING be_a.t WHERE ref.id = t.ref",
    "MERGE INTO be.ref USING be_a.t ON ref.id = t.id + 3 WHEN MATCHED AND t.id < 3 THEN UPDATE SET name = t.name WHEN MATCHED AND ref.id > 5 THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (t.id + 50, t.name)",
    "WITH gone AS (DELETE FROM be.ref USING be_a.t WHERE ref.id = t.id + 5 RETURNING ref.id, t.name) INSERT INTO be.other SELECT id + 10, name FROM gone",
    "WITH old AS (UPDATE be.ref SET name = 'x' FROM be_a.t WHERE t.id = ref.id RETURNING ref.id), new AS (INSERT INTO be.here SELECT id FROM old RETURNING id) SELECT count(*) FROM new, be_b.t",
    "SELECT ref.id, t.name FROM be.ref JOIN be_a.t ON t.ref = ref.id ORDER BY 1 FOR UPDATE OF ref",
    "SELECT ref.id, t.name FROM be.ref JOIN be_a.t ON t.ref = ref.id ORDER BY 1 FOR SHARE OF ref",
    "SELECT id FROM be.ref WHERE id IN (SELECT ref FROM be_b.t) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
    "LOCK TABLE be.ref, be_a.t, be.here, be_b.t IN EXCLUSIVE MODE",
    "DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM be_a.t LOOP UPDATE be.ref SET name = r.name WHERE id = r.ref; END LOOP; END $$",
    "TRUNCATE be_a.t, be_b.t, be.here, be.ref",
    "TRUNCATE be.ref, be.other CASCADE",
    "TRUNCATE be.here, be.other, be_a.big",
];

/// What the statement gives, and all tables after it; or its SQLSTATE.
fn effect(client: &mut Client, sql: &str) -> Vec<String> {
    client.batch_execute("BEGIN").unwrap();
    let mut found = match client.simple_query(sql) {
        Ok(messages) => {
            let mut rows = crate::reference::rows_of(&messages);
            rows.sort();
            rows
        }
        Err(error) => {
            client.batch_execute("ROLLBACK").unwrap();
            return vec![format!("{:?}", error.code())];
        }
    };
    for table in ["be.ref", "be.other", "be.here", "be_a.t", "be_b.t"] {
        found.push(table.to_owned());
        found.extend(text(client, &format!("SELECT * FROM {table} ORDER BY id, name")));
    }
    // The copies on the nodes.
    for schema in ["be_a", "be_b"] {
        let there =
            format!("SELECT r.* FROM be.ref r LEFT JOIN {schema}.big ON false ORDER BY r.id");
        found.extend(text(client, &there));
    }
    found
}

#[test]
fn reference_tables_change_with_rows_of_tenants() {
    let cluster = Cluster::shared();
    let (mut helios, mut plain) = (cluster.connect(), PlainServer::shared().connect());
    set_up(&mut helios, true);
    set_up(&mut plain, false);
    for sql in STATEMENTS {
        for end in ["ROLLBACK", "COMMIT"] {
            let [expected, found] = [&mut plain, &mut helios].map(|client| {
                let found = effect(client, sql);
                client.batch_execute(end).unwrap();
                found
            });
            assert_eq!(expected, found, "{sql}");
        }
    }
    same_everywhere(cluster, "be.ref");
    same_everywhere(cluster, "be.other");
    let both = "SELECT t.* FROM be_a.t JOIN be.ref ON ref.id = t.ref ORDER BY 1 FOR UPDATE";
    assert_eq!(text(&mut helios, both), text(&mut plain, both));
}
