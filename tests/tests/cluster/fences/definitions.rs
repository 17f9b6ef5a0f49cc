//! DDL on fenced schemas is refused, on the node as on the coordinator.

use postgres::Client;

use super::{cluster, definition, fence, open, refused};

/// Each changes something in schema f.
const DEFINITIONS: [&str; 54] = [
    "CREATE TABLE f.n (i int)",
    "CREATE TABLE f.n AS SELECT 1 AS i",
    "SELECT 1 AS i INTO f.n",
    "CREATE TABLE f.part_2 PARTITION OF f.parted FOR VALUES IN (2)",
    "CREATE VIEW f.n AS SELECT 1 AS i",
    "CREATE OR REPLACE VIEW f.v AS SELECT id, x FROM f.t WHERE x > 3",
    "CREATE MATERIALIZED VIEW f.n AS SELECT 1 AS i",
    "CREATE INDEX n ON f.t (x)",
    "CREATE INDEX CONCURRENTLY n ON f.t (x)",
    "CREATE SEQUENCE f.n",
    "CREATE FUNCTION f.g() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION f.noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE TRIGGER n BEFORE INSERT ON f.t FOR EACH ROW EXECUTE FUNCTION f.noop()",
    "CREATE RULE n AS ON INSERT TO f.t DO INSTEAD NOTHING",
    "CREATE POLICY n ON f.t",
    "CREATE STATISTICS f.n ON id, x FROM f.t",
    "CREATE TYPE f.n AS (i int)",
    "CREATE TYPE f.n AS ENUM ('a')",
    "CREATE DOMAIN f.n AS int",
    "CREATE AGGREGATE f.n (int) (sfunc = int4pl, stype = int)",
    "CREATE OPERATOR f.%%% (leftarg = int, rightarg = int, function = int4pl)",
    "CREATE COLLATION f.n FROM \"C\"",
    "CREATE TEXT SEARCH CONFIGURATION f.n (COPY = simple)",
    "ALTER TYPE f.mood ADD VALUE 'ok'",
    "ALTER DOMAIN f.small ADD CHECK (VALUE < 5)",
    "ALTER TABLE f.t ADD COLUMN n int",
    "ALTER TABLE f.t ALTER COLUMN x SET STATISTICS 7",
    "ALTER TABLE f.t DISABLE TRIGGER ALL",
    "ALTER TABLE f.t RENAME TO n",
    "ALTER TABLE f.t RENAME COLUMN x TO n",
    "ALTER TABLE f.t OWNER TO somebody",
    "ALTER TABLE f.log SET SCHEMA other",
    "ALTER TABLE other.o SET SCHEMA f",
    "ALTER TABLE other.o ADD FOREIGN KEY (i) REFERENCES f.t",
    "ALTER TABLE f.parted DETACH PARTITION f.part_1",
    "ALTER INDEX f.i RENAME TO n",
    "ALTER SEQUENCE f.s INCREMENT 2",
    "ALTER FUNCTION f.noop() COST 7",
    "ALTER VIEW f.v RENAME TO n",
    "ALTER SCHEMA f RENAME TO n",
    "ALTER SCHEMA f OWNER TO somebody",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA f GRANT SELECT ON TABLES TO somebody",
    "DROP TABLE f.log",
    "DROP TABLE other.o, f.log",
    "DROP INDEX f.i",
    "DROP SEQUENCE f.s",
    "DROP FUNCTION f.noop() CASCADE",
    "DROP TRIGGER noop ON f.t",
    "DROP SCHEMA f CASCADE",
    "COMMENT ON TABLE f.t IS 'n'",
    "COMMENT ON SCHEMA f IS 'n'",
    "GRANT SELECT ON f.t TO somebody",
    "GRANT SELECT ON ALL TABLES IN SCHEMA f TO somebody",
    "GRANT USAGE ON SCHEMA f TO somebody",
];

const TRUNCATES: [&str; 3] = ["TRUNCATE f.t", "TRUNCATE other.o, f.log", "TRUNCATE f.parted"];

#[test]
fn definitions_are_refused_on_the_node_and_on_the_coordinator() {
    let cluster = cluster();
    let (mut client, mut node) = (cluster.connect(), cluster.connect_to_node(1));
    client.batch_execute("CREATE ROLE somebody").unwrap();
    let (of_shells, of_tables) = (definition_of_shells(&mut client), definition(&mut node));
    let texts = DEFINITIONS.iter().chain(&TRUNCATES);
    // On the node, for clients connected to it and for the coordinator's sessions.
    fence(&mut node, "definition");
    for sql in texts.clone() {
        refused(&mut node, sql);
        refused(
            &mut node,
            &format!("DO $x$ BEGIN EXECUTE $y${sql}$y$; END $x$").replace("CONCURRENTLY", ""),
        );
        refused(&mut client, sql);
    }
    assert_eq!(definition(&mut node), of_tables);
    // On the coordinator, the statement fails before anything is sent.
    open(&mut node);
    fence(&mut client, "definition");
    for sql in texts {
        let error = refused(&mut client, sql);
        assert!(!error.where_().unwrap_or_default().contains("node \""), "{sql}: {error:?}");
    }
    assert_eq!(definition(&mut node), of_tables);
    assert_eq!(definition_of_shells(&mut client), of_shells);
    open(&mut client);
    client
        .batch_execute("ALTER TABLE f.t ADD COLUMN n int; TRUNCATE f.t; DROP SCHEMA f CASCADE")
        .unwrap();
}

fn definition_of_shells(client: &mut Client) -> Vec<String> {
    let mut all = definition(client);
    all.retain(|line| !line.contains("rows"));
    all
}

#[test]
fn what_changes_no_definition_goes_on_behind_a_fence() {
    let cluster = cluster();
    let (mut client, mut node) = (cluster.connect(), cluster.connect_to_node(1));
    fence(&mut node, "definition");
    fence(&mut client, "definition");
    let harmless = [
        "INSERT INTO f.t VALUES (100, 1) ON CONFLICT DO NOTHING",
        "UPDATE f.t SET x = 7; DELETE FROM f.t WHERE id = 100",
        "INSERT INTO f.parted VALUES (1)",
        "SELECT nextval('f.s'), setval('f.s', 7)",
        "VACUUM f.t",
        "VACUUM FULL f.t",
        "ANALYZE f.t",
        "REINDEX TABLE f.t",
        "REINDEX TABLE CONCURRENTLY f.t",
        "CLUSTER f.t USING i",
        "REFRESH MATERIALIZED VIEW f.m",
        "BEGIN; LOCK TABLE f.t IN ACCESS EXCLUSIVE MODE; COMMIT",
        "CREATE TABLE other.n (i int); ALTER TABLE other.n ADD COLUMN j int; TRUNCATE other.n; DROP TABLE other.n",
        "CREATE TEMP TABLE n AS SELECT * FROM f.t; DROP TABLE n",
        "EXPLAIN UPDATE f.t SET x = 7",
    ];
    for sql in harmless {
        // Statements that cannot run in a transaction block are sent alone.
        client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        if !sql.starts_with("CREATE TABLE") {
            node.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
    }
}
