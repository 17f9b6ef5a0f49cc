//! Replicas are created, kept up to date, and dropped.

use helios_tests::{BOUND, wait_until};

use crate::{
    assert_clean, cluster, in_step, migrations, node_of, number, replicate, same_there, text,
};

const TENANT: &str = "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; \
    CREATE TABLE t.a (id serial PRIMARY KEY, v text, twice int GENERATED ALWAYS AS (length(v) * 2) STORED); \
    INSERT INTO t.a (v) SELECT md5(i::text) FROM generate_series(1, 5000) i; \
    CREATE TABLE t.nokey (x int); INSERT INTO t.nokey SELECT i % 7 FROM generate_series(1, 100) i; \
    CREATE TABLE t.child (id int REFERENCES t.a, n int); \
    CREATE TABLE t.part (k int, v text, PRIMARY KEY (k)) PARTITION BY RANGE (k); \
    CREATE TABLE t.part1 PARTITION OF t.part FOR VALUES FROM (0) TO (10); \
    CREATE TABLE t.part2 PARTITION OF t.part DEFAULT; \
    CREATE TABLE t.seen (id int, at timestamptz DEFAULT now()); \
    CREATE FUNCTION t.note() RETURNS trigger LANGUAGE plpgsql AS \
      $$ BEGIN INSERT INTO t.seen (id) VALUES (NEW.id); RETURN NEW; END $$; \
    CREATE TRIGGER note AFTER INSERT ON t.a FOR EACH ROW EXECUTE FUNCTION t.note(); \
    ALTER TABLE t.a ENABLE ALWAYS TRIGGER note;";

const WRITES: &str = "INSERT INTO t.a (v) SELECT 'new ' || i FROM generate_series(1, 50) i; \
    UPDATE t.a SET v = 'changed' WHERE id % 100 = 0; DELETE FROM t.a WHERE id % 100 = 1; \
    INSERT INTO t.child SELECT id, 1 FROM t.a WHERE id % 100 = 2; \
    UPDATE t.nokey SET x = 9 WHERE x = 3; DELETE FROM t.nokey WHERE x = 4; \
    INSERT INTO t.part SELECT i, 'p' FROM generate_series(1, 30) i ON CONFLICT (k) DO UPDATE SET v = t.part.v || '+'";

const CONTENTS: &str = "SELECT (SELECT md5(string_agg(a::text, ',' ORDER BY id)) FROM t.a), (SELECT count(*) FROM t.a), \
    (SELECT string_agg(x::text, ',' ORDER BY x) FROM t.nokey), (SELECT count(*) FROM t.child), \
    (SELECT string_agg(part::text, ',' ORDER BY k) FROM t.part), (SELECT string_agg(seen::text, ',' ORDER BY id) FROM t.seen)";

#[test]
fn a_copy_follows_and_goes() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    let rows = client.query("SELECT helios_set_replicas('t', 2)", &[]).unwrap();
    assert_eq!(rows.len(), 1);
    let id: i64 = rows[0].get(0);
    let wait = format!("SELECT helios_wait_for_migration({id}, '{} seconds')", BOUND.as_secs());
    assert_eq!(text(&mut client, &wait), ["in_step"], "{}", migrations(&mut client));
    assert_eq!(in_step(&mut client, "t", 1), ["node-2"]);
    client.batch_execute(WRITES).unwrap();
    same_there(&cluster, &mut client, 2, CONTENTS);
    assert_eq!(node_of(&mut client, "t"), "node-1");
    // Requested again, it does nothing.
    assert!(client.query("SELECT helios_set_replicas('t', 2)", &[]).unwrap().is_empty());
    let compared = text(&mut client, "SELECT mismatches FROM helios_verify_schema('t')");
    assert!(!compared.is_empty() && compared.iter().all(|m| m == "0"), "{compared:?}");
    assert_eq!(in_step(&mut client, "t", 1), ["node-2"]);
    let lag = text(
        &mut client,
        "SELECT lag_ms < 60000, lag_bytes >= 0, \"primary\" FROM helios_replicas",
    );
    assert_eq!(lag, ["t|t|node-1"]);
    // Nobody can write to the copy.
    let error = cluster.connect_to_node(2).batch_execute("DELETE FROM t.a").unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55006");
    client.query("SELECT helios_set_replicas('t', 1)", &[]).unwrap();
    assert_clean(&cluster, &["t"]);
    client.batch_execute("ALTER TABLE t.a ADD w int; INSERT INTO t.a (v) VALUES ('last')").unwrap();
    assert_eq!(text(&mut client, "SELECT count(*) FROM helios_replicas"), ["0"]);
}

#[test]
fn two_copies_of_which_one_goes() {
    let cluster = cluster(3);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    replicate(&mut client, "t", 3);
    client.batch_execute(WRITES).unwrap();
    same_there(&cluster, &mut client, 2, CONTENTS);
    same_there(&cluster, &mut client, 3, CONTENTS);
    replicate(&mut client, "t", 2);
    wait_until("the other copy is gone", BOUND, || {
        let there = "SELECT count(*) FROM pg_namespace WHERE nspname = 't'";
        let counts: Vec<_> =
            (1..=3).map(|node| text(&mut cluster.connect_to_node(node), there).concat()).collect();
        let left = counts.iter().filter(|count| *count == "1").count();
        if left == 2 { Ok(()) } else { Err(format!("{counts:?} {}", migrations(&mut client))) }
    });
    // The table without a key still logs whole rows, for the remaining copy; definitions do not change.
    client.batch_execute(WRITES).unwrap();
    let left = number(&in_step(&mut client, "t", 1)[0]);
    same_there(&cluster, &mut client, left, CONTENTS);
    let error = client.batch_execute("ALTER TABLE t.a ADD w int").unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55006");
    replicate(&mut client, "t", 1);
    assert_clean(&cluster, &["t"]);
}

#[test]
fn a_shard_with_its_schemas() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA \"a{s}\" DISTRIBUTED; CREATE SCHEMA \"b{s}\" DISTRIBUTED; \
             CREATE TABLE \"a{s}\".x (i int PRIMARY KEY); CREATE TABLE \"b{s}\".x (i int PRIMARY KEY)",
        )
        .unwrap();
    let shard = text(&mut client, "SELECT DISTINCT shard FROM helios_schemas");
    assert_eq!(shard.len(), 1, "both are in one pooled shard");
    text(&mut client, &format!("SELECT helios_set_replicas({}, 2)", shard[0]));
    let copy = number(&in_step(&mut client, "b{s}", 1)[0]);
    client
        .batch_execute("INSERT INTO \"a{s}\".x VALUES (1); INSERT INTO \"b{s}\".x VALUES (2)")
        .unwrap();
    same_there(
        &cluster,
        &mut client,
        copy,
        "SELECT (SELECT i FROM \"a{s}\".x), (SELECT i FROM \"b{s}\".x)",
    );
    // A schema that would belong to that shard is placed next to it, where its definition can change.
    client
        .batch_execute("CREATE SCHEMA \"c{s}\" DISTRIBUTED; CREATE TABLE \"c{s}\".x (i int)")
        .unwrap();
    let beside = text(&mut client, "SELECT kind FROM helios_schemas WHERE schema = 'c{s}'");
    assert_eq!(beside, ["dedicated"]);
    text(&mut client, &format!("SELECT helios_set_replicas({}, 1)", shard[0]));
    assert_clean(&cluster, &["a{s}"]);
}

#[test]
fn a_copy_that_was_away_catches_up() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    replicate(&mut client, "t", 2);
    cluster.kill_node(2);
    client.batch_execute(WRITES).unwrap();
    wait_until("the copy is behind", BOUND, || {
        client.batch_execute("SET helios.max_replica_lag = '500ms'").unwrap();
        let state = text(&mut client, "SELECT state FROM helios_replicas");
        if state == ["behind"] { Ok(()) } else { Err(format!("{state:?}")) }
    });
    client.batch_execute("RESET helios.max_replica_lag").unwrap();
    cluster.start_node(2);
    same_there(&cluster, &mut client, 2, CONTENTS);
    cluster.restart_node(1);
    client = cluster.connect();
    wait_until("the node answers", BOUND, || {
        client.batch_execute(WRITES).map_err(|error| format!("{error:?}"))
    });
    same_there(&cluster, &mut client, 2, CONTENTS);
    in_step(&mut client, "t", 1);
    replicate(&mut client, "t", 1);
    assert_clean(&cluster, &["t"]);
}
