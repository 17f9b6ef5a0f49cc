//! Reference tables without a primary key: their rows are found by another key, or by all their values.

use helios_tests::Cluster;

use crate::reference::{refused, rows, same_everywhere};

#[test]
fn reference_tables_need_no_primary_key() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA keyless; CREATE SCHEMA keyless_1 DISTRIBUTED ON NODE \"node-1\"; \
             CREATE DOMAIN keyless.short AS text CHECK (length(value) < 20); \
             CREATE TYPE keyless.pair AS (x int, y float8); \
             CREATE TABLE keyless.none (id int, v keyless.short, j json, p point, f float8, c char(5), a int[], r keyless.pair, \
                 n numeric, up text GENERATED ALWAYS AS (upper(v)) STORED, gone int); \
             ALTER TABLE keyless.none DROP COLUMN gone; \
             INSERT INTO keyless.none SELECT i / 3, 'v' || i / 3, '{\"a\":  1}', point(i / 3, 0.1), 'nan', 'x', '[3:4]={1,2}', \
                 row(1, -0.0::float8)::keyless.pair, 1.50 FROM generate_series(1, 30) i; \
             INSERT INTO keyless.none (id) VALUES (-1), (-1), (-2); \
             CREATE TABLE keyless.code (code text UNIQUE, name text, UNIQUE (code, name)); \
             INSERT INTO keyless.code VALUES ('a', 'x'), ('b', NULL), (NULL, 'y'), (NULL, 'y'), (NULL, 'z'); \
             CREATE TABLE keyless.pairs (a int, b int NOT NULL, v text, UNIQUE (a), UNIQUE (b) INCLUDE (v)); \
             INSERT INTO keyless.pairs VALUES (NULL, 1), (NULL, 2), (3, 3); \
             CREATE TABLE keyless_1.code (code text REFERENCES keyless.code (code)); \
             CREATE TABLE keyless_1.pairs (b int REFERENCES keyless.pairs (b) ON UPDATE CASCADE); \
             INSERT INTO keyless_1.code VALUES ('a'), (NULL); INSERT INTO keyless_1.pairs VALUES (2); \
             SELECT helios_create_reference_table('keyless.none')",
        )
        .unwrap();
    let statements = [
        "DELETE FROM keyless.none WHERE ctid = (SELECT min(ctid) FROM keyless.none WHERE id = 2)",
        "UPDATE keyless.none SET f = random() WHERE ctid = (SELECT min(ctid) FROM keyless.none WHERE id = 3)",
        "UPDATE keyless.none SET v = v || 'n', n = n * 1.0 WHERE id > 4",
        "DELETE FROM keyless.none WHERE id < 0 AND ctid <> (SELECT max(ctid) FROM keyless.none)",
        "UPDATE keyless.none SET id = id - 1",
        "DELETE FROM keyless.none WHERE id % 3 = 0",
        "UPDATE keyless.code SET name = 'new' WHERE ctid = (SELECT min(ctid) FROM keyless.code WHERE code IS NULL)",
        "UPDATE keyless.code SET code = 'c' WHERE name = 'z'",
        "UPDATE keyless.code SET name = code",
        "DELETE FROM keyless.code WHERE code IS NULL OR code = 'b'",
        "INSERT INTO keyless.code VALUES ('a', 'q') ON CONFLICT (code) DO UPDATE SET name = random()",
        "UPDATE keyless.pairs SET b = b + 10, v = 'moved'",
        "INSERT INTO keyless.none (id) SELECT b FROM keyless_1.pairs",
    ];
    for sql in statements {
        client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        for table in ["keyless.none", "keyless.code", "keyless.pairs"] {
            let hash = format!("(SELECT t::text FROM {table} t ORDER BY 1) s (v)");
            same_everywhere(cluster, &hash);
        }
    }
    assert_eq!(rows(&mut client, "SELECT b FROM keyless_1.pairs"), ["12"]);
    refused(&mut client, "DELETE FROM keyless.code WHERE code = 'a'", "23503", "still referenced");
    client
        .batch_execute("DROP TABLE keyless_1.code; TRUNCATE keyless.code; ALTER TABLE keyless.code ADD PRIMARY KEY (code)")
        .unwrap();
    client
        .batch_execute("INSERT INTO keyless.code VALUES ('z'); UPDATE keyless.code SET code = 'y'")
        .unwrap();
    assert_eq!(same_everywhere(cluster, "keyless.code"), ["y|NULL"]);
}
