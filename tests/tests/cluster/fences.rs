//! Fences: what a migration keeps from being changed on a server, whoever tries.

use helios_tests::{BOUND, Cluster, backend, define_on_node, psql, wait_until};
use postgres::Client;
use postgres::error::DbError;
use testkit::server::HOST;

/// Schemas `f` and `other` on node 1, made through the coordinator.
const SCHEMAS: &str = "
    CREATE SCHEMA f DISTRIBUTED ON NODE \"node-1\"; CREATE SCHEMA other DISTRIBUTED ON NODE \"node-1\";
    CREATE TYPE f.mood AS ENUM ('sad'); CREATE DOMAIN f.small AS int;
    CREATE TABLE f.t (id int PRIMARY KEY, x int); INSERT INTO f.t SELECT i, i FROM generate_series(1, 10) i;
    CREATE TABLE f.log (t text);
    CREATE TABLE f.parted (i int) PARTITION BY LIST (i);
    CREATE TABLE f.part_1 PARTITION OF f.parted FOR VALUES IN (1);
    CREATE SEQUENCE f.s; CREATE INDEX i ON f.t (x);
    CREATE VIEW f.v AS SELECT * FROM f.t; CREATE MATERIALIZED VIEW f.m AS SELECT * FROM f.t;
    CREATE FUNCTION f.noop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE TRIGGER noop BEFORE INSERT ON f.t FOR EACH ROW EXECUTE FUNCTION f.noop();
    CREATE TABLE other.o (i int)";

fn cluster() -> Cluster {
    let cluster = Cluster::with_settings(2, &["wal_level = logical"]);
    cluster.connect().batch_execute(SCHEMAS).unwrap();
    cluster
}

fn fence(client: &mut Client, kind: &str) {
    client.execute("INSERT INTO helios.fence VALUES ('f', 7, $1)", &[&kind]).unwrap();
}

fn open(client: &mut Client) {
    client.batch_execute("DELETE FROM helios.fence").unwrap();
}

#[track_caller]
fn refused(client: &mut Client, sql: &str) -> DbError {
    let error = match client.batch_execute(sql) {
        Ok(()) => panic!("not refused: {sql}"),
        Err(error) => error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}")).clone(),
    };
    // On a node its own clients define nothing, whatever is fenced there.
    if error.message() == "cannot execute DDL on a node" {
        assert_eq!(error.code().code(), "0A000", "{sql}: {error:?}");
    } else {
        assert_eq!(error.code().code(), "55006", "{sql}: {error:?}");
        assert!(error.message().contains("schema \"f\""), "{sql}: {error:?}");
        assert!(error.message().contains("migration 7"), "{sql}: {error:?}");
    }
    assert!(error.hint().is_some(), "{sql}: {error:?}");
    client.batch_execute("ROLLBACK").unwrap();
    error
}

/// What there is in schema f, with owners, rights and comments.
fn definition(client: &mut Client) -> Vec<String> {
    let query = "
        SELECT format('%s %s %s %s', relname, relkind, relowner, relacl) FROM pg_class WHERE relnamespace = 'f'::regnamespace
        UNION ALL SELECT format('%s %s %s', attrelid::regclass, attname, atttypid::regtype) FROM pg_attribute
         WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'f'::regnamespace)
        UNION ALL SELECT format('%s %s', nspname, nspacl) FROM pg_namespace
        UNION ALL SELECT format('%s %s', proname, prosrc) FROM pg_proc WHERE pronamespace = 'f'::regnamespace
        UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'f'::regnamespace
        UNION ALL SELECT description FROM pg_description WHERE objoid = 'f.t'::regclass OR objoid = 'f'::regnamespace
        UNION ALL SELECT format('%s %s', tgname, tgenabled) FROM pg_trigger WHERE tgrelid = 'f.t'::regclass
        UNION ALL SELECT format('default rights %s', count(*)) FROM pg_default_acl
        ORDER BY 1";
    let rows = "SELECT format('%s rows', count(*)) FROM f.t";
    let all = [query, rows].map(|query| client.query(query, &[]).unwrap());
    all.iter().flatten().map(|row| row.get(0)).collect()
}

/// Every one changes something in schema f.
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
    // On the node, for those who are connected to it and for the coordinator's sessions.
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
    // On the coordinator it comes before anything is sent.
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
        // A statement that may not be part of a block comes alone.
        client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        if !sql.starts_with("CREATE TABLE") {
            node.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
    }
}

#[test]
fn writes_are_refused_whatever_way_they_come() {
    let cluster = cluster();
    let (mut client, mut node) = (cluster.connect(), cluster.connect_to_node(1));
    // A server of its own has ways into a schema that the coordinator's clients do not have.
    define_on_node(
        &mut node,
        "CREATE SCHEMA plain; CREATE VIEW plain.v AS SELECT * FROM f.t;
         CREATE TABLE plain.parent (id int PRIMARY KEY); INSERT INTO plain.parent SELECT generate_series(1, 10);
         ALTER TABLE f.t ADD FOREIGN KEY (id) REFERENCES plain.parent ON DELETE CASCADE;
         CREATE TABLE plain.root (i int) PARTITION BY LIST (i);
         CREATE TABLE f.leaf PARTITION OF plain.root FOR VALUES IN (1);
         CREATE FUNCTION plain.writes(i int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN UPDATE f.t SET x = x WHERE id = i; END $$;
         SELECT plain.writes(1);
         PREPARE writes(int) AS UPDATE f.t SET x = x WHERE id = $1; SET plan_cache_mode = force_generic_plan; EXECUTE writes(1);
         PREPARE reads AS SELECT count(*) FROM f.t; EXECUTE reads",
    );
    client.batch_execute("PREPARE writes(int) AS UPDATE f.t SET x = x WHERE id = $1; EXECUTE writes(1); EXECUTE writes(1)").unwrap();
    let before = definition(&mut node);
    fence(&mut node, "writes");
    let everywhere = [
        "INSERT INTO f.t VALUES (100)",
        "INSERT INTO f.t SELECT 100 WHERE false",
        "UPDATE f.t SET x = 7 WHERE id = 1",
        "DELETE FROM f.t",
        "WITH gone AS (DELETE FROM f.t RETURNING *) SELECT count(*) FROM gone",
        "WITH gone AS (DELETE FROM f.log) SELECT 1 FROM f.t",
        "MERGE INTO f.t USING (SELECT 1 AS i) AS s ON id = i WHEN MATCHED THEN UPDATE SET x = 7",
        "UPDATE f.v SET x = 7",
        "INSERT INTO f.parted VALUES (1)",
        "EXPLAIN ANALYZE UPDATE f.t SET x = 7",
        "EXECUTE writes(1)",
        "DO $$ BEGIN UPDATE f.t SET x = 7; END $$",
        "DO $$ BEGIN EXECUTE 'UPDATE f.t SET x = 7'; END $$",
        "BEGIN; DECLARE c CURSOR FOR SELECT * FROM f.t; FETCH c; UPDATE f.t SET x = 7",
        "TRUNCATE f.t",
        "REFRESH MATERIALIZED VIEW f.m",
        "ALTER TABLE f.t ADD COLUMN n int",
        "CREATE TABLE f.n AS SELECT 1 AS i",
    ];
    for sql in everywhere {
        refused(&mut node, sql);
        refused(&mut client, sql);
    }
    let on_the_node = [
        "UPDATE plain.v SET x = 7",
        "DELETE FROM plain.parent WHERE id = 3",
        "INSERT INTO plain.root VALUES (1)",
        "SELECT plain.writes(1)",
        "COPY f.t FROM PROGRAM 'true'",
        "COPY plain.root FROM PROGRAM 'true'",
    ];
    for sql in on_the_node {
        refused(&mut node, sql);
    }
    for server in [cluster.node(1), cluster.coordinator()] {
        let copied = psql(server, "helios", "COPY f.t FROM STDIN;\n100\t1\n\\.\n");
        assert!(!copied.success && copied.stderr.contains("55006"), "{}", copied.stderr);
    }
    for client in [&mut node, &mut client] {
        let harmless = "SELECT count(*) FROM f.t; SELECT nextval('f.s'); SELECT * FROM f.t FOR UPDATE; INSERT INTO other.o VALUES (1); \
                        EXPLAIN UPDATE f.t SET x = 7";
        client.batch_execute(harmless).unwrap();
    }
    node.batch_execute("EXECUTE reads").unwrap();
    assert_eq!(definition(&mut node), before);
    // What a migration does itself passes; nobody else can say that he is one.
    let mut migration = cluster.connect_to_node(1);
    migration.batch_execute("SET helios.migration_session = on; UPDATE f.t SET x = 8; ALTER TABLE f.t ADD COLUMN n int; TRUNCATE f.log").unwrap();
    client.batch_execute("CREATE ROLE somebody LOGIN").unwrap();
    let mut somebody =
        cluster.node(1).config("helios").user("somebody").connect(postgres::NoTls).unwrap();
    let error = somebody.batch_execute("SET helios.migration_session = on").unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501");
    open(&mut node);
    node.batch_execute("SELECT plain.writes(1); EXECUTE writes(1); UPDATE plain.v SET x = 7")
        .unwrap();
    client.batch_execute("EXECUTE writes(1)").unwrap();
}

/// Who waits for a lock that the fence's transaction has, sees the fence; also when that was prepared.
#[test]
fn whoever_gets_the_lock_after_the_fence_sees_it() {
    let cluster = cluster();
    let mut node = cluster.connect_to_node(1);
    for prepared in [false, true] {
        let mut writer = cluster.connect_to_node(1);
        writer.batch_execute("PREPARE w AS UPDATE f.t SET x = x; SET plan_cache_mode = force_generic_plan; EXECUTE w").unwrap();
        let pid = backend(&mut writer).as_raw_nonzero().get();
        node.batch_execute("BEGIN; LOCK TABLE f.t IN SHARE ROW EXCLUSIVE MODE").unwrap();
        let waiting = std::thread::spawn(move || refused(&mut writer, "EXECUTE w"));
        let mut other = cluster.connect_to_node(1);
        wait_until("the writer waits for the lock", BOUND, || {
            let query = "SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted";
            match other.query_one(query, &[&pid]).unwrap().get::<_, i64>(0) {
                0 => Err("it does not"),
                _ => Ok(()),
            }
            .map_err(str::to_owned)
        });
        fence(&mut node, "writes");
        match prepared {
            true => {
                node.batch_execute("PREPARE TRANSACTION 'the fence'").unwrap();
                let mut elsewhere = cluster.connect_to_node(1);
                elsewhere.batch_execute("COMMIT PREPARED 'the fence'").unwrap();
            }
            false => node.batch_execute("COMMIT").unwrap(),
        }
        waiting.join().unwrap();
        open(&mut node);
    }
}

#[test]
fn a_fence_lives_and_dies_with_its_transaction() {
    let cluster = cluster();
    let (mut node, mut other) = (cluster.connect_to_node(1), cluster.connect_to_node(1));
    let write = "UPDATE f.t SET x = 7 WHERE id = 1";
    node.batch_execute("BEGIN").unwrap();
    fence(&mut node, "writes");
    refused(&mut node, write);
    other.batch_execute(write).unwrap();
    node.batch_execute(write).unwrap();
    node.batch_execute(&format!("BEGIN; SAVEPOINT a; INSERT INTO helios.fence VALUES ('f', 7, 'writes'); ROLLBACK TO a; {write}; COMMIT")).unwrap();
    fence(&mut node, "definition");
    other.batch_execute(write).unwrap();
    node.batch_execute("UPDATE helios.fence SET kind = 'writes'").unwrap();
    refused(&mut other, write);
    // A fence of another schema, or of one that does not exist, stops nobody here.
    node.batch_execute("UPDATE helios.fence SET schema = 'elsewhere'").unwrap();
    other.batch_execute(write).unwrap();
    other.batch_execute("CREATE SCHEMA elsewhere; DROP SCHEMA elsewhere").unwrap_err();
    open(&mut node);
    // The fence goes with the extension.
    fence(&mut node, "writes");
    node.batch_execute("DROP EXTENSION helios CASCADE").unwrap();
    other.batch_execute(write).unwrap();
}

#[test]
fn replication_and_pulled_rows_pass_the_fence() {
    let cluster = cluster();
    let (mut source, mut target) = (cluster.connect_to_node(1), cluster.connect_to_node(2));
    define_on_node(
        &mut target,
        "CREATE SCHEMA f; CREATE TABLE f.t (id int PRIMARY KEY, x int); CREATE TABLE f.log (t text)",
    );
    source.batch_execute("INSERT INTO f.log VALUES ('pulled')").unwrap();
    fence(&mut target, "writes");
    refused(&mut target, "INSERT INTO f.t VALUES (1)");
    let port = cluster.node(1).port;
    let pull = format!(
        r#"SELECT * FROM helios.pull_rows('{{"name": "node-1", "hosts": ["{HOST}"], "ports": [{port}],
           "database": "helios", "user": "postgres"}}', NULL, 'f.log', '{{t}}', 0, NULL)"#
    );
    assert_eq!(target.query_one(&pull, &[]).unwrap().get::<_, i64>(0), 1);
    source.batch_execute("CREATE PUBLICATION p FOR TABLE f.t, helios.migration_marker").unwrap();
    target
        .batch_execute(&format!(
            "CREATE SUBSCRIPTION p CONNECTION 'host={HOST} port={port} dbname=helios user=postgres' PUBLICATION p"
        ))
        .unwrap();
    source.batch_execute("INSERT INTO helios.migration_marker VALUES (7, 'forward', 1)").unwrap();
    wait_until("the rows have arrived", BOUND, || {
        let query =
            "SELECT (SELECT count(*) FROM f.t), (SELECT count(*) FROM helios.migration_marker)";
        let row = target.query_one(query, &[]).unwrap();
        let seen = (row.get::<_, i64>(0), row.get::<_, i64>(1));
        if seen == (10, 1) { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    source.batch_execute("UPDATE f.t SET x = 77 WHERE id = 1; TRUNCATE f.log").unwrap();
    wait_until("the update has arrived", BOUND, || {
        let x: i32 = target.query_one("SELECT x FROM f.t WHERE id = 1", &[]).unwrap().get(0);
        if x == 77 { Ok(()) } else { Err(format!("{x}")) }
    });
    target.batch_execute("DROP SUBSCRIPTION p").unwrap();
}

/// What the coordinator takes for shells are its own tables to a migration's session.
#[test]
fn a_migrations_session_works_on_what_is_here() {
    let cluster = cluster();
    let mut client = cluster.connect();
    client.batch_execute("SET helios.migration_session = on").unwrap();
    let count = "SELECT count(*) FROM f.t";
    assert_eq!(client.query_one(count, &[]).unwrap().get::<_, i64>(0), 0);
    client
        .batch_execute(
            "INSERT INTO f.t VALUES (1, 1), (2, 2); COMMENT ON TABLE f.t IS 'here alone'",
        )
        .unwrap();
    assert_eq!(client.query_one(count, &[]).unwrap().get::<_, i64>(0), 2);
    client.batch_execute("TRUNCATE f.t; SET helios.migration_session = off").unwrap();
    assert_eq!(client.query_one(count, &[]).unwrap().get::<_, i64>(0), 10);
    let comment = "SELECT obj_description('f.t'::regclass)";
    let on_node: Option<String> =
        cluster.connect_to_node(1).query_one(comment, &[]).unwrap().get(0);
    assert_eq!(on_node, None);
}
