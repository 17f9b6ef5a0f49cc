//! Names in statements must not give access to other users' rows.

use helios_tests::{Cluster, refused, text};
use postgres::Client;

/// Tenants `ta` on node 1 and `tb` on node 2, and a plain schema.
fn tenants(cluster: &Cluster) -> Client {
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA pl; CREATE SCHEMA ta DISTRIBUTED ON NODE \"node-1\"; \
             CREATE SCHEMA tb DISTRIBUTED ON NODE \"node-2\"; \
             CREATE TABLE ta.orders (i int); INSERT INTO ta.orders VALUES (1); \
             CREATE TABLE tb.orders (i int); INSERT INTO tb.orders VALUES (2)",
        )
        .unwrap();
    client
}

/// Drops everything.
fn gone(mut client: Client) {
    client
        .batch_execute("RESET search_path; DROP SCHEMA ta CASCADE; DROP SCHEMA tb CASCADE; DROP SCHEMA pl CASCADE")
        .unwrap();
}

#[test]
fn rows_come_from_the_table_that_is_named_here() {
    let cluster = Cluster::start(2);
    let mut client = tenants(&cluster);
    client.batch_execute("SET search_path = ta, tb").unwrap();
    let view = "CREATE MATERIALIZED VIEW tb.c AS SELECT * FROM orders";
    refused(&mut client, view, "0A000", "cannot create");
    for sql in ["CREATE TABLE tb.c AS SELECT * FROM orders", "SELECT * INTO tb.c FROM orders"] {
        client.batch_execute(sql).unwrap();
        assert_eq!(text(&mut client, "SELECT * FROM tb.c"), ["1"], "{sql}");
        client.batch_execute("DROP TABLE tb.c").unwrap();
    }
    client
        .batch_execute("SET search_path = tb; CREATE TEMP TABLE orders AS SELECT 3 AS i")
        .unwrap();
    client.batch_execute("CREATE TABLE tb.c AS SELECT * FROM orders").unwrap();
    assert_eq!(text(&mut client, "SELECT * FROM tb.c"), ["3"]);
    client.batch_execute("DROP TABLE tb.c").unwrap();
    client
        .batch_execute("CREATE TEMP TABLE shaped (mine int); CREATE TABLE tb.shaped (theirs int)")
        .unwrap();
    client
        .batch_execute(
            "CREATE TABLE tb.like_it (LIKE shaped); INSERT INTO tb.like_it (mine) VALUES (8)",
        )
        .unwrap();
    assert_eq!(text(&mut client, "SELECT mine FROM tb.like_it"), ["8"]);
    client.batch_execute("CREATE TABLE tb.c AS SELECT * FROM tb.orders").unwrap();
    assert_eq!(text(&mut client, "SELECT * FROM c"), ["2"]);
    gone(client);
}

#[test]
fn attached_is_the_table_that_is_named_here() {
    let cluster = Cluster::start(2);
    let mut client = tenants(&cluster);
    client
        .batch_execute(
            "CREATE TABLE tb.p (i int) PARTITION BY LIST (i); CREATE TABLE pl.c (i int); \
             CREATE TABLE tb.c (i int); INSERT INTO tb.c VALUES (5); \
             CREATE TABLE pl.q (i int) PARTITION BY LIST (i); CREATE TABLE ta.ip (i int); CREATE TABLE pl.ic (i int)",
        )
        .unwrap();
    client.batch_execute("SET search_path = pl, ta, tb").unwrap();
    refused(&mut client, "ALTER TABLE p ATTACH PARTITION c DEFAULT", "0A000", "");
    client.batch_execute("TRUNCATE p").unwrap();
    assert_eq!(text(&mut client, "SELECT * FROM tb.c"), ["5"]);
    let attach = "ALTER TABLE pl.q ATTACH PARTITION ta.orders FOR VALUES IN (1)";
    refused(&mut client, attach, "0A000", "");
    refused(&mut client, "ALTER TABLE pl.ic INHERIT ta.ip", "0A000", "");
    refused(&mut client, "CREATE TEMP TABLE x () INHERITS (ta.ip)", "0A000", "");
    client.batch_execute("ALTER TABLE tb.p ATTACH PARTITION tb.c DEFAULT").unwrap();
    assert_eq!(text(&mut client, "SELECT * FROM tb.p"), ["5"]);
    gone(client);
}

#[test]
fn dropped_and_granted_is_what_is_named_here() {
    let cluster = Cluster::start(2);
    let mut client = tenants(&cluster);
    client
        .batch_execute(
            "SET search_path = tb; CREATE TABLE other (i int); CREATE TEMP TABLE orders (i int)",
        )
        .unwrap();
    client.batch_execute("GRANT SELECT ON orders, other TO PUBLIC").unwrap();
    let granted = "SELECT relname FROM pg_class WHERE relnamespace = 'tb'::regnamespace AND relacl::text LIKE '%,=r/%'";
    assert_eq!(text(&mut cluster.connect_to_node(2), granted), ["other"]);
    client.batch_execute("DROP TABLE orders, other").unwrap();
    assert_eq!(text(&mut client, "SELECT * FROM tb.orders"), ["2"]);
    let left = "SELECT relname FROM pg_class WHERE relnamespace = 'tb'::regnamespace";
    assert_eq!(text(&mut cluster.connect_to_node(2), left), ["orders"]);
    gone(client);
}

#[test]
fn functions_of_another_tenant_are_looked_at() {
    let cluster = Cluster::start(2);
    let mut client = tenants(&cluster);
    for (schema, plus) in [("ta", 1), ("tb", 2)] {
        client
            .batch_execute(&format!(
                "CREATE FUNCTION {schema}.f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + {plus}'"
            ))
            .unwrap();
    }
    client.batch_execute("SET search_path = ta, tb").unwrap();
    for sql in [
        "CREATE TABLE tb.e (i int, g int GENERATED ALWAYS AS (f(i)) STORED)",
        "ALTER TABLE tb.orders ADD COLUMN g int GENERATED ALWAYS AS (f(i)) STORED",
        "ALTER TABLE tb.orders ALTER COLUMN i SET DEFAULT f(1)",
        "ALTER TABLE tb.orders ALTER COLUMN i TYPE bigint USING f(i)",
        "CREATE INDEX ON tb.orders (f(i))",
    ] {
        refused(&mut client, sql, "0A000", "");
    }
    client
        .batch_execute(
            "SET search_path = tb, ta; CREATE TABLE tb.e (i int, g int GENERATED ALWAYS AS (f(i)) STORED); \
             INSERT INTO tb.e VALUES (1); DROP SCHEMA ta CASCADE",
        )
        .unwrap();
    assert_eq!(text(&mut client, "SELECT * FROM tb.e"), ["1|3"]);
    client.batch_execute("CREATE SCHEMA ta").unwrap();
    gone(client);
}
