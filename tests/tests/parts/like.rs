//! CREATE TABLE … (LIKE …) with a model that is elsewhere gives what it gives on one server.

use helios_tests::Cluster;

use super::catalogs::{described, differences};
use super::random::plain;

const MODEL: &str = r#"
CREATE TABLE @a.model (
    id bigint GENERATED ALWAYS AS IDENTITY (START WITH 100 INCREMENT BY 5),
    "Odd name" text COLLATE "C" DEFAULT 'x''y' NOT NULL,
    dropped int,
    n numeric(8,2) CHECK (n > 0),
    twice numeric GENERATED ALWAYS AS (n * 2) STORED,
    at timestamptz DEFAULT now(),
    tags text[],
    big text,
    PRIMARY KEY (id),
    CONSTRAINT model_name UNIQUE ("Odd name", n) DEFERRABLE INITIALLY DEFERRED,
    EXCLUDE USING btree (big WITH =)) WITH (fillfactor = 70, toast.autovacuum_enabled = false);
ALTER TABLE @a.model DROP COLUMN dropped;
ALTER TABLE @a.model ALTER COLUMN big SET STORAGE EXTERNAL, ALTER COLUMN tags SET COMPRESSION pglz;
CREATE INDEX ON @a.model (lower("Odd name"), at DESC) INCLUDE (n) WHERE n > 1;
CREATE UNIQUE INDEX "Named index" ON @a.model (tags);
CREATE STATISTICS @a.model_stat (dependencies) ON id, n FROM @a.model;
COMMENT ON TABLE @a.model IS 'a model';
COMMENT ON COLUMN @a.model.n IS 'a column''s comment';
COMMENT ON INDEX @a."Named index" IS 'an index';
COMMENT ON CONSTRAINT model_n_check ON @a.model IS 'a check';
COMMENT ON STATISTICS @a.model_stat IS 'statistics';
CREATE VIEW @a.seen AS SELECT id, n FROM @a.model;
"#;

const COPIES: &str = r"
CREATE TABLE @b.plain_copy (LIKE @a.model);
CREATE TABLE @b.model (LIKE @a.model INCLUDING ALL);
CREATE TABLE @b.again (LIKE @a.model INCLUDING ALL);
CREATE TABLE @b.some (before serial, LIKE @a.model INCLUDING DEFAULTS INCLUDING INDEXES INCLUDING COMMENTS, after int DEFAULT 7 REFERENCES @b.some (before), UNIQUE (before));
CREATE TABLE @b.without (LIKE @a.model INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY EXCLUDING GENERATED, CHECK (id > 0));
CREATE TABLE @b.of_view (LIKE @a.seen INCLUDING ALL);
CREATE UNLOGGED TABLE @b.unlogged (LIKE @a.model INCLUDING STORAGE INCLUDING COMPRESSION);
CREATE TABLE @b.parent (id bigint, extra text DEFAULT 'e', CHECK (extra <> ''));
CREATE TABLE @b.child (LIKE @a.seen, own int) INHERITS (@b.parent);
CREATE TABLE @b.parted (LIKE @a.model INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY LIST (n);
CREATE TABLE IF NOT EXISTS @b.model (LIKE @a.model);
INSERT INTO @b.model (n) VALUES (3), (4) RETURNING id;
";

#[test]
fn copies_of_definitions_are_those_of_one_server() {
    let cluster = Cluster::shared();
    let mut helios = cluster.connect();
    let mut plain = plain("like_elsewhere");
    helios
        .batch_execute(
            "CREATE SCHEMA like_one DISTRIBUTED ON NODE \"node-1\"; CREATE SCHEMA like_here; \
             CREATE SCHEMA like_two DISTRIBUTED ON NODE \"node-2\"",
        )
        .unwrap();
    plain
        .batch_execute("CREATE SCHEMA like_one; CREATE SCHEMA like_two; CREATE SCHEMA like_here")
        .unwrap();
    for (from, to, node) in [
        ("like_one", "like_two", Some(2)),
        ("like_two", "like_here", None),
        ("like_here", "like_one", Some(1)),
    ] {
        let fill = |text: &str| text.replace("@a", from).replace("@b", to);
        let clear = format!("DROP SCHEMA IF EXISTS {from}_left CASCADE");
        for client in [&mut plain, &mut helios] {
            client.batch_execute(&clear).unwrap();
            client.batch_execute(&fill(MODEL)).unwrap();
            for sql in fill(COPIES).lines().filter(|line| !line.is_empty()) {
                client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            }
        }
        let expected = described(&mut plain, to);
        let shell = described(&mut helios, to);
        assert_eq!(differences(&expected, &shell), "", "{from} to {to}, on the coordinator");
        if let Some(node) = node {
            let there = described(&mut cluster.connect_to_node(node), to);
            assert_eq!(differences(&expected, &there), "", "{from} to {to}, on the node");
        }
        let drop = format!(
            "DROP TABLE {from}.model CASCADE; DROP TABLE {to}.plain_copy, {to}.model, {to}.again, {to}.some, {to}.without, {to}.of_view, {to}.unlogged, {to}.parent, {to}.child, {to}.parted"
        );
        for client in [&mut plain, &mut helios] {
            for sql in drop.split("; ") {
                client.batch_execute(sql).unwrap();
            }
        }
    }
    helios.batch_execute("DROP SCHEMA like_one, like_two CASCADE").unwrap();
    helios.batch_execute("DROP SCHEMA like_here CASCADE").unwrap();
}

#[test]
fn defaults_with_sequences_elsewhere_wait_for_their_replacement() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA serial_one DISTRIBUTED ON NODE \"node-1\"; CREATE SCHEMA serial_two DISTRIBUTED ON NODE \"node-2\"; \
             CREATE TABLE serial_one.t (id serial PRIMARY KEY, x int)",
        )
        .unwrap();
    client.batch_execute("CREATE TABLE serial_two.t (LIKE serial_one.t INCLUDING ALL)").unwrap();
    // A value that the statement itself asks for comes from the sequence's node.
    client
        .batch_execute("INSERT INTO serial_two.t (x) VALUES (0); DELETE FROM serial_two.t")
        .unwrap();
    let copy = client.batch_execute("COPY serial_two.t (x) FROM PROGRAM 'echo 1'").unwrap_err();
    assert!(copy.as_db_error().is_some(), "{copy:?}");
    // Other changes of the table leave the default alone; a new one must be where the table is.
    client
        .batch_execute(
            "ALTER TABLE serial_two.t ADD COLUMN y int DEFAULT 3; CREATE INDEX ON serial_two.t (y)",
        )
        .unwrap();
    for sql in [
        "ALTER TABLE serial_two.t ALTER COLUMN x SET DEFAULT nextval('serial_one.t_id_seq')",
        "ALTER TABLE serial_two.t ADD COLUMN z int DEFAULT nextval('serial_one.t_id_seq')",
        "CREATE VIEW serial_two.v AS SELECT last_value FROM serial_one.t_id_seq",
        "CREATE TABLE serial_two.u (x int DEFAULT nextval('serial_one.t_id_seq'))",
    ] {
        let error = client.batch_execute(sql).expect_err(sql);
        assert_eq!(error.as_db_error().unwrap().code().code(), "0A000", "{sql}: {error:?}");
    }
    client
        .batch_execute(
            "CREATE SEQUENCE serial_two.t_id_seq OWNED BY serial_two.t.id; \
             ALTER TABLE serial_two.t ALTER COLUMN id SET DEFAULT nextval('serial_two.t_id_seq'); \
             INSERT INTO serial_two.t (x) VALUES (1)",
        )
        .unwrap();
    let id: i32 = client.query_one("SELECT id FROM serial_two.t", &[]).unwrap().get(0);
    assert_eq!(id, 1);
    let (shell, there) = (
        described(&mut client, "serial_two"),
        described(&mut cluster.connect_to_node(2), "serial_two"),
    );
    assert_eq!(differences(&shell, &there), "");
    client.batch_execute("DROP SCHEMA serial_one, serial_two CASCADE").unwrap();
}
