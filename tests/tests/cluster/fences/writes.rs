//! Writes to fenced schemas are refused, whichever way they take, for as long as the fence exists.

use helios_tests::{BOUND, backend, define_on_node, psql, wait_until};

use super::{cluster, definition, fence, open, refused};

#[test]
fn writes_are_refused_whatever_way_they_come() {
    let cluster = cluster();
    let (mut client, mut node) = (cluster.connect(), cluster.connect_to_node(1));
    // A plain server allows ways into a schema that the coordinator's clients do not have.
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
    // The migration's own writes pass; other sessions cannot pretend to be one.
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

/// A statement that waits for a lock of the fence's transaction sees the fence afterwards, even if that transaction was
/// prepared.
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
    // A fence on another or a nonexistent schema blocks nobody here.
    node.batch_execute("UPDATE helios.fence SET schema = 'elsewhere'").unwrap();
    other.batch_execute(write).unwrap();
    other.batch_execute("CREATE SCHEMA elsewhere; DROP SCHEMA elsewhere").unwrap_err();
    open(&mut node);
    // DROP EXTENSION removes the fence.
    fence(&mut node, "writes");
    node.batch_execute("DROP EXTENSION helios CASCADE").unwrap();
    other.batch_execute(write).unwrap();
}
