//! All kinds of objects in a schema move with it.

use std::process::{Command, Stdio};

use helios_tests::{BOUND, Cluster};
use postgres::Client;
use testkit::cluster::DATABASE;
use testkit::server::Server;

use crate::{
    assert_clean, cluster, cluster_with_failpoints, end_worker, finish, last_migration, node_of,
    roll_back, shown, switch, text, wait,
};

/// Objects outside of the schema that it refers to.
pub const AROUND: &str = r#"
CREATE ROLE owner_of_all; CREATE ROLE reader;
CREATE TABLE country (id int PRIMARY KEY, name text);
INSERT INTO country VALUES (1, 'x'), (2, 'y');
"#;

/// One object of each kind, with names that need quotes.
pub const OBJECTS: &str = r#"
COMMENT ON SCHEMA "Odd.Name" IS 'everything';
GRANT USAGE ON SCHEMA "Odd.Name" TO reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA "Odd.Name" GRANT SELECT ON TABLES TO reader;
SET search_path = "Odd.Name", public;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b mood);
CREATE TYPE span AS RANGE (subtype = float8);
CREATE SEQUENCE counter INCREMENT 5 START 100 CACHE 3;
CREATE SEQUENCE untouched START 7;
CREATE TABLE "Customer" (id int GENERATED ALWAYS AS IDENTITY (START 10) PRIMARY KEY, name text NOT NULL, feels mood DEFAULT 'ok',
    many mood[], two pair, reach span, size positive, country int REFERENCES country,
    total numeric GENERATED ALWAYS AS (size * 1.5) STORED, data jsonb, doc json, raw bytea, at timestamptz DEFAULT now());
ALTER TABLE "Customer" ALTER COLUMN name SET STATISTICS 500, ALTER COLUMN raw SET STORAGE EXTERNAL;
ALTER TABLE "Customer" DROP COLUMN at;
COMMENT ON COLUMN "Customer".name IS 'first and last';
INSERT INTO "Customer" (name, feels, many, two, reach, size, country, data, doc, raw)
  SELECT 'n' || i, 'happy', '{sad,ok}', (i, 'sad')::pair, span(i, i + 1), i, 1 + i % 2, '{"a": 1}', '{"b":  2}', decode(lpad(to_hex(i), 8, '0'), 'hex')
    FROM generate_series(1, 500) i;
INSERT INTO "Customer" (name) VALUES (E'tab\tnew\nline\\'), ('');
CREATE INDEX ON "Customer" (lower(name)); CREATE INDEX partial ON "Customer" (size) WHERE size > 100;
CREATE STATISTICS related (dependencies) ON country, feels FROM "Customer";
CREATE TABLE nokey (x int, y float8); INSERT INTO nokey SELECT 1, 0.1 FROM generate_series(1, 30); INSERT INTO nokey VALUES (NULL, 'NaN'), (2, '-0');
CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE identity_by_index (a int NOT NULL, b text NOT NULL); CREATE UNIQUE INDEX by_both ON identity_by_index (a, b);
ALTER TABLE identity_by_index REPLICA IDENTITY USING INDEX by_both; INSERT INTO identity_by_index VALUES (1, 'q');
CREATE TABLE identity_full (a int PRIMARY KEY, b text); ALTER TABLE identity_full REPLICA IDENTITY FULL; INSERT INTO identity_full VALUES (1, 'q');
CREATE UNLOGGED TABLE fleeting (id int PRIMARY KEY, x text); INSERT INTO fleeting VALUES (1, 'a'), (2, 'b');
CREATE TABLE measure (id int, day date NOT NULL, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE measure_old PARTITION OF measure FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
CREATE TABLE measure_new PARTITION OF measure FOR VALUES FROM ('2020-01-01') TO (MAXVALUE) PARTITION BY HASH (id);
CREATE TABLE measure_new_0 PARTITION OF measure_new FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE measure_new_1 PARTITION OF measure_new FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO measure SELECT i, '2019-12-01'::date + i FROM generate_series(1, 100) i;
CREATE TABLE parent (id int PRIMARY KEY, x text); CREATE TABLE child (extra int) INHERITS (parent);
INSERT INTO parent VALUES (1, 'p'); INSERT INTO child VALUES (2, 'c', 3);
CREATE TABLE log (id serial PRIMARY KEY, what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SET search_path = "Odd.Name" AS
  $$ BEGIN INSERT INTO log (what) VALUES (TG_NAME || ' ' || TG_OP); RETURN NULL; END $$;
CREATE TRIGGER plain AFTER INSERT ON nokey FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER off AFTER INSERT ON nokey FOR EACH ROW EXECUTE FUNCTION note(); ALTER TABLE nokey DISABLE TRIGGER off;
CREATE TRIGGER always AFTER INSERT ON nokey FOR EACH ROW EXECUTE FUNCTION note(); ALTER TABLE nokey ENABLE ALWAYS TRIGGER always;
CREATE TRIGGER replica AFTER INSERT ON nokey FOR EACH ROW EXECUTE FUNCTION note(); ALTER TABLE nokey ENABLE REPLICA TRIGGER replica;
CREATE RULE quiet AS ON DELETE TO identity_full DO INSTEAD NOTHING;
CREATE VIEW overview AS SELECT id, name, feels FROM "Customer" WHERE size > 3;
CREATE MATERIALIZED VIEW summary AS SELECT feels, count(*) FROM "Customer" GROUP BY 1;
CREATE MATERIALIZED VIEW of_summary AS SELECT count(*) FROM summary;
CREATE MATERIALIZED VIEW empty_summary AS SELECT 1 AS one WITH NO DATA;
CREATE PROCEDURE tidy() LANGUAGE sql BEGIN ATOMIC DELETE FROM log; END;
CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
CREATE COLLATION german (provider = icu, locale = 'de-DE');
CREATE TEXT SEARCH DICTIONARY plain_words (TEMPLATE = pg_catalog.simple);
CREATE TEXT SEARCH CONFIGURATION words (COPY = pg_catalog.simple);
ALTER TABLE "Customer" ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON "Customer" FOR SELECT TO reader USING (country = 1);
GRANT SELECT ON "Customer" TO reader; GRANT SELECT (x) ON nokey TO reader;
ALTER TABLE "Customer" OWNER TO owner_of_all;
ALTER TABLE log ADD CONSTRAINT later UNIQUE (id, what) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE nokey ADD CONSTRAINT unchecked CHECK (x > 100) NOT VALID;
ALTER TABLE log SET (fillfactor = 70, autovacuum_enabled = off);
SELECT nextval('counter');
RESET search_path;
"#;

/// Queries whose results must be the same after every move.
pub const ROWS: &[&str] = &[
    r#"SELECT * FROM "Odd.Name"."Customer" ORDER BY id"#,
    r#"SELECT * FROM "Odd.Name".nokey ORDER BY x, y"#,
    r#"SELECT count(*) FROM "Odd.Name".nothing"#,
    r#"SELECT * FROM "Odd.Name".identity_by_index"#,
    r#"SELECT * FROM "Odd.Name".identity_full"#,
    r#"SELECT * FROM "Odd.Name".fleeting ORDER BY id"#,
    r#"SELECT tableoid::regclass, * FROM "Odd.Name".measure ORDER BY id, day"#,
    r#"SELECT tableoid::regclass, * FROM "Odd.Name".parent ORDER BY id"#,
    r#"SELECT * FROM "Odd.Name".log ORDER BY id"#,
    r#"SELECT * FROM "Odd.Name".summary ORDER BY 1"#,
    r#"SELECT * FROM "Odd.Name".of_summary"#,
];

/// `pg_dump` of a schema on a server, without what differs between runs.
pub fn definition(server: &Server, schema: &str) -> String {
    let mut command: Command = server.client("pg_dump", DATABASE).unwrap();
    command.args(["--schema-only", "--schema", &format!("\"{schema}\"")]);
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let kept = text.lines().filter(|line| !line.contains("restrict ") && !line.starts_with("--"));
    kept.collect::<Vec<_>>().join("\n")
}

fn everything(cluster: &Cluster) -> Vec<Vec<String>> {
    let mut client = cluster.connect();
    ROWS.iter().map(|query| text(&mut client, query)).collect()
}

/// Creates a schema with one object of each kind, on the first node.
fn create_everything(cluster: &Cluster) -> Client {
    let mut client = cluster.connect();
    client.batch_execute(AROUND).unwrap();
    client
        .batch_execute(
            "SELECT helios_create_reference_table('country'); \
             CREATE SCHEMA \"Odd.Name\" AUTHORIZATION owner_of_all DISTRIBUTED ON NODE \"node-1\"",
        )
        .unwrap();
    client.batch_execute(OBJECTS).unwrap();
    client
}

#[test]
fn everything_in_a_schema_moves() {
    let cluster = cluster(2);
    let mut client = create_everything(&cluster);
    let (before, rows) = (definition(cluster.node(1), "Odd.Name"), everything(&cluster));
    assert!(before.contains("ENABLE ALWAYS TRIGGER always"), "{before}");

    let id = switch(&mut client, "Odd.Name", "node-2");
    assert_eq!(node_of(&mut client, "Odd.Name").as_deref(), Some("node-2"));
    assert_eq!(everything(&cluster), rows);
    // Sequences continue at their positions, including those never used.
    let next = r#"SELECT nextval('"Odd.Name".counter') >= 105, nextval('"Odd.Name".untouched')"#;
    assert_eq!(text(&mut client, next), ["t|7"]);
    roll_back(&mut client, id);
    assert_eq!(everything(&cluster), rows);
    assert_eq!(definition(cluster.node(1), "Odd.Name"), before);
    assert_eq!(text(&mut client, r#"SELECT nextval('"Odd.Name".untouched')"#), ["8"]);
    assert_clean_but_identity(&cluster);

    let id = switch(&mut client, "Odd.Name", "node-2");
    finish(&mut client, id);
    assert_eq!(everything(&cluster), rows);
    assert_eq!(definition(cluster.node(2), "Odd.Name"), before);
    assert_clean_but_identity(&cluster);
    // The schema's own objects still work there.
    client.batch_execute(r#"INSERT INTO "Odd.Name".nokey VALUES (200, 1)"#).unwrap();
    let fired = r#"SELECT what FROM "Odd.Name".log ORDER BY id DESC LIMIT 2"#;
    assert_eq!(text(&mut client, fired), ["plain INSERT", "always INSERT"]);
    let error = client
        .batch_execute(r#"INSERT INTO "Odd.Name"."Customer" (name, country) VALUES ('z', 9)"#)
        .unwrap_err();
    assert_eq!(error.code().unwrap().code(), "23503");
}

/// Failpoints at which the worker of a migration is terminated.
const ON_THE_WAY: [&str; 8] = [
    "migration.slot.before",
    "migration.slot.after",
    "migration.definition.after",
    "migration.table.copied",
    "migration.indexes.before",
    "migration.indexes.after",
    "migration.subscribe.before",
    "migration.subscribe.after",
];

/// Starts a migration and terminates its worker at one failpoint after the other.
pub fn broken_off(cluster: &Cluster, client: &mut Client, function: &str) -> i64 {
    cluster.failpoint(ON_THE_WAY[0], "hang", 0, 0);
    client.batch_execute(function).unwrap();
    for (number, place) in ON_THE_WAY.iter().enumerate() {
        cluster.wait_for_failpoint(place, BOUND);
        if let Some(next) = ON_THE_WAY.get(number + 1) {
            cluster.failpoint(next, "hang", 0, 0);
        }
        end_worker(client);
        cluster.failpoint_off(place, BOUND);
    }
    last_migration(client)
}

#[test]
fn everything_moves_although_its_copy_breaks_off_again_and_again() {
    let cluster = cluster_with_failpoints(2, &[]);
    let mut client = create_everything(&cluster);
    let (before, rows) = (definition(cluster.node(1), "Odd.Name"), everything(&cluster));
    let moves = r#"SELECT helios_migrate_schema('Odd.Name', 'node-2')"#;
    for is_kept in [false, true] {
        let id = broken_off(&cluster, &mut client, moves);
        assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
        assert_eq!(everything(&cluster), rows);
        if is_kept {
            finish(&mut client, id)
        } else {
            roll_back(&mut client, id)
        }
        let node = if is_kept { 2 } else { 1 };
        assert_eq!(definition(cluster.node(node), "Odd.Name"), before);
        assert_eq!(everything(&cluster), rows);
        assert_clean_but_identity(&cluster);
    }
    let here = definition(cluster.coordinator(), "Odd.Name");
    for (function, home) in [
        ("SELECT helios_undistribute_schema('Odd.Name')", None),
        ("SELECT helios_distribute_schema('Odd.Name', 'node-1')", Some("node-1")),
    ] {
        let id = broken_off(&cluster, &mut client, function);
        assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
        assert_eq!(everything(&cluster), rows);
        finish(&mut client, id);
        assert_eq!(node_of(&mut client, "Odd.Name").as_deref(), home);
        assert_eq!(everything(&cluster), rows);
        assert_eq!(definition(cluster.coordinator(), "Odd.Name"), here);
    }
    assert_eq!(definition(cluster.node(1), "Odd.Name"), before);
    assert_clean_but_identity(&cluster);
}

/// Like [`assert_clean`], but for tables with a replica identity set by the user, which have "identity" in their names.
fn assert_clean_but_identity(cluster: &Cluster) {
    assert_clean(cluster, &["Odd.Name"]);
}

#[test]
fn a_shard_moves_with_all_its_schemas() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    // The same key: the same shard.
    for schema in ["\"{k}a\"", "\"{k}b\"", "\"{k}c\""] {
        client
            .batch_execute(&format!(
                "CREATE SCHEMA {schema} DISTRIBUTED; CREATE TABLE {schema}.t (id int PRIMARY KEY); \
                 INSERT INTO {schema}.t SELECT generate_series(1, 100)"
            ))
            .unwrap();
    }
    let shard: i64 = client
        .query_one("SELECT DISTINCT shard FROM helios_schemas WHERE schema LIKE '{k}%'", &[])
        .unwrap()
        .get(0);
    let from = node_of(&mut client, "{k}a").unwrap();
    let to = if from == "node-1" { "node-2" } else { "node-1" };
    let move_it = "SELECT helios_migrate_shard($1, $2)";
    let id: i64 = client.query_one(move_it, &[&shard, &to]).unwrap().get(0);
    // A schema created during the move stays behind, in its own shard.
    client.batch_execute("CREATE SCHEMA \"{k}d\" DISTRIBUTED").unwrap();
    assert_eq!(crate::wait(&mut client, id), "dual_write_back");
    for schema in ["{k}a", "{k}b", "{k}c"] {
        assert_eq!(node_of(&mut client, schema).as_deref(), Some(to));
        let count = text(&mut client, &format!("SELECT count(*) FROM \"{schema}\".t"));
        assert_eq!(count, ["100"]);
    }
    assert_eq!(node_of(&mut client, "{k}d"), Some(from));
    finish(&mut client, id);
    assert_clean(&cluster, &["{k}a", "{k}b", "{k}c", "{k}d"]);
}

#[test]
fn an_empty_shard_moves_at_once() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    let (shard, from): (i64, String) = {
        let row = client
            .query_one("SELECT id, node::text FROM helios_shards ORDER BY id LIMIT 1", &[])
            .unwrap();
        (row.get(0), row.get(1))
    };
    let to = if from == "node-1" { "node-2" } else { "node-1" };
    let id: i64 =
        client.query_one("SELECT helios_migrate_shard($1, $2)", &[&shard, &to]).unwrap().get(0);
    assert_eq!(crate::wait(&mut client, id), "finished");
    let node: String = client
        .query_one("SELECT node::text FROM helios_shards WHERE id = $1", &[&shard])
        .unwrap()
        .get(0);
    assert_eq!(node, to);
}
