//! DDL on a node is accepted from the coordinator only: DDL by other clients of the node is refused,
//! with the coordinator's address.

use helios_tests::Cluster;
use postgres::{Client, NoTls};

const OWNED: &str = "
    CREATE SCHEMA guarded DISTRIBUTED ON NODE \"node-1\" AUTHORIZATION guarded;
    SET ROLE guarded; SET search_path = guarded;
    CREATE TABLE t (id int PRIMARY KEY, v text, CHECK (id > 0)); CREATE VIEW v AS SELECT * FROM t; CREATE SEQUENCE s;
    CREATE MATERIALIZED VIEW m AS SELECT * FROM t;
    CREATE TYPE e AS ENUM ('a'); CREATE DOMAIN d AS int; CREATE INDEX i ON t (v);
    CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION tr() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE FUNCTION definer(sql text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN EXECUTE sql; END';
    CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION tr();
    INSERT INTO t VALUES (1, 'one'); RESET ROLE";

/// Everything that the owner of a schema may do with it on an ordinary server.
const REFUSED: [&str; 41] = [
    "ALTER TABLE t ADD b int",
    "ALTER TABLE t DROP v",
    "ALTER TABLE t ALTER v TYPE varchar(9)",
    "ALTER TABLE t ALTER v SET DEFAULT 'x'",
    "ALTER TABLE t RENAME v TO w",
    "ALTER TABLE t RENAME TO u",
    "ALTER TABLE t SET (fillfactor = 50)",
    "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE t DISABLE TRIGGER g",
    "ALTER TABLE t ADD CHECK (id < 99)",
    "CREATE TABLE n (x int)",
    "CREATE TABLE n AS SELECT * FROM t",
    "SELECT * INTO n FROM t",
    "CREATE VIEW n AS SELECT 1",
    "CREATE OR REPLACE VIEW v AS SELECT id, v, 1 AS one FROM t",
    "CREATE INDEX n ON t (id, v)",
    "CREATE INDEX CONCURRENTLY n ON t (id, v)",
    "CREATE SEQUENCE n",
    "ALTER SEQUENCE s INCREMENT 5",
    "CREATE TYPE n AS ENUM ()",
    "ALTER TYPE e ADD VALUE 'b'",
    "ALTER DOMAIN d SET NOT NULL",
    "CREATE FUNCTION n() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'",
    "ALTER FUNCTION f() STABLE",
    "CREATE TRIGGER n BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION tr()",
    "CREATE POLICY n ON t USING (true)",
    "CREATE RULE n AS ON DELETE TO t DO NOTHING",
    "CREATE STATISTICS n ON id, v FROM t",
    "COMMENT ON TABLE t IS 'x'",
    "GRANT SELECT ON t TO PUBLIC",
    "GRANT ALL ON ALL TABLES IN SCHEMA guarded TO PUBLIC",
    "REVOKE EXECUTE ON FUNCTION f() FROM PUBLIC",
    "DROP TABLE t CASCADE",
    "DROP INDEX i",
    "DROP INDEX CONCURRENTLY i",
    "DROP FUNCTION f()",
    "DROP SCHEMA guarded CASCADE",
    "ALTER SCHEMA guarded RENAME TO other",
    "DO $$ BEGIN EXECUTE 'ALTER TABLE t ADD b int'; END $$",
    "SELECT definer('ALTER TABLE t ADD b int')",
];

const ALLOWED: [&str; 16] = [
    "INSERT INTO t VALUES (2, 'two') ON CONFLICT DO NOTHING",
    "SELECT nextval('s')",
    "CREATE TEMP TABLE x (i int)",
    "ALTER TABLE x ADD y int",
    "CREATE TEMP VIEW xv AS SELECT * FROM x",
    "CREATE INDEX ON x (i)",
    "GRANT SELECT ON x TO PUBLIC",
    "DROP TABLE x CASCADE",
    "CREATE TEMP TABLE y AS SELECT * FROM t",
    "VACUUM t",
    "ANALYZE t",
    "REINDEX TABLE t",
    "VACUUM FULL t",
    "REFRESH MATERIALIZED VIEW m",
    "SET search_path = guarded",
    "TRUNCATE x_none",
];

#[track_caller]
fn assert_refused(client: &mut Client, sql: &str, port: u16) {
    let error = client.batch_execute(sql).expect_err(sql);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
    assert_eq!(error.code().code(), "0A000", "{sql}: {error:?}");
    let hint = error.hint().unwrap_or_default();
    assert!(hint.contains("coordinator") && hint.contains(&port.to_string()), "{sql}: {error:?}");
}

#[test]
fn definitions_on_a_node_come_from_the_coordinator_alone() {
    let cluster = Cluster::start(1);
    let port = cluster.coordinator().port;
    let mut coordinator = cluster.connect();
    coordinator
        .batch_execute("CREATE ROLE guarded LOGIN; GRANT CREATE ON DATABASE helios TO guarded")
        .unwrap();
    coordinator.batch_execute(&OWNED.replace('\n', " ")).unwrap();
    let on_node = |role: &str| {
        let mut client =
            cluster.node(1).config(testkit::cluster::DATABASE).user(role).connect(NoTls).unwrap();
        client.batch_execute("SET search_path = guarded").unwrap();
        client
    };
    for role in ["guarded", "postgres"] {
        let mut client = on_node(role);
        for sql in REFUSED {
            assert_refused(&mut client, sql, port);
        }
        for sql in ALLOWED.iter().filter(|sql| !sql.contains("none")) {
            client.batch_execute(sql).unwrap_or_else(|error| panic!("{role}: {sql}: {error:?}"));
        }
    }
    let mut admin = on_node("postgres");
    for sql in [
        "CREATE SCHEMA mine DISTRIBUTED",
        "CREATE SCHEMA mine",
        "SELECT helios_create_schema('mine')",
        "SECURITY LABEL FOR helios ON SCHEMA guarded IS 'distributed'",
        "CREATE TABLE public.mine (x int)",
        "SET helios.distribute_new_schemas = on; CREATE SCHEMA mine",
    ] {
        assert_refused(&mut admin, sql, port);
    }
    for sql in [
        "CREATE PUBLICATION p FOR TABLE guarded.t",
        "DROP PUBLICATION p",
        "SET helios.migration_session = on; CREATE INDEX by_hand ON guarded.t (id, v); DROP INDEX guarded.by_hand",
    ] {
        admin.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    // Whatever a client of the node sets, it does not become the coordinator.
    let mut client = on_node("guarded");
    for setting in ["helios.migration_session", "helios.coordinator_proof"] {
        let _ = client.batch_execute(&format!("SET {setting} = on"));
        assert_refused(&mut client, "ALTER TABLE t ADD b int", port);
    }
    // Everything works through the coordinator.
    coordinator
        .batch_execute("ALTER TABLE guarded.t ADD b int; GRANT SELECT ON guarded.t TO PUBLIC")
        .unwrap();
    let found = helios_tests::text(
        &mut coordinator,
        "SELECT \"check\", detail FROM helios_check_cluster() WHERE NOT ok",
    );
    assert_eq!(found, [""; 0]);
}
