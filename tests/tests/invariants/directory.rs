//! Invariant 2: the directory is authoritative, and is read after the lock is acquired.

use helios_tests::{Cluster, define_on_node};
use postgres::Client;

use crate::value;

/// A schema on two nodes with different rows; only the directory determines which is used.
fn twice(cluster: &Cluster) -> Client {
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA d DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE d.t (v text); \
             INSERT INTO d.t VALUES ('node-1')",
        )
        .unwrap();
    let copy = "CREATE SCHEMA d; CREATE TABLE d.t (v text); INSERT INTO d.t VALUES ('node-2')";
    define_on_node(&mut cluster.connect_to_node(2), copy);
    client
}

fn move_to(client: &mut Client, node: &str) {
    let sql = format!(
        "UPDATE helios.shard SET node = (SELECT id FROM helios.node WHERE name = '{node}') \
         WHERE id = (SELECT shard FROM helios.schema WHERE name = 'd')"
    );
    client.batch_execute(&sql).unwrap();
}

/// Sessions that have cached the old placement in every possible way.
#[test]
fn directory_is_followed_by_every_cached_plan() {
    let cluster = Cluster::start(2);
    let mut admin = twice(&cluster);
    let mut user = cluster.connect();
    user.batch_execute(
        "CREATE FUNCTION public.place() RETURNS text LANGUAGE plpgsql AS
             $$ BEGIN RETURN (SELECT v FROM d.t); END $$;
         SET plan_cache_mode = force_generic_plan;
         PREPARE p AS SELECT v FROM d.t; PREPARE w AS INSERT INTO d.t SELECT 'more' WHERE false",
    )
    .unwrap();
    let statement = user.prepare("SELECT v FROM d.t").unwrap();
    for node in ["node-1", "node-2", "node-1", "node-2"] {
        move_to(&mut admin, node);
        for sql in ["SELECT v FROM d.t", "EXECUTE p", "SELECT public.place()"] {
            assert_eq!(value(&mut user, sql).unwrap().as_deref(), Some(node), "{sql}");
        }
        let row = user.query_one(&statement, &[]).unwrap();
        assert_eq!(row.get::<_, String>(0), node, "a statement prepared by the driver");
        user.batch_execute("EXECUTE w").unwrap();
        let sql = "SELECT helios_node_for_schema('d')";
        assert_eq!(value(&mut user, sql).unwrap().as_deref(), Some(node));
    }
}

/// A change that is rolled back never existed for anybody, including its own session.
#[test]
fn directory_change_that_is_rolled_back_is_not_followed() {
    let cluster = Cluster::start(2);
    let mut admin = twice(&cluster);
    let mut user = cluster.connect();
    admin.batch_execute("BEGIN").unwrap();
    move_to(&mut admin, "node-2");
    assert_eq!(value(&mut user, "SELECT v FROM d.t").unwrap().as_deref(), Some("node-1"));
    admin.batch_execute("ROLLBACK").unwrap();
    for client in [&mut admin, &mut user] {
        assert_eq!(value(client, "SELECT v FROM d.t").unwrap().as_deref(), Some("node-1"));
    }
}

/// The shard's lock is held by a transaction that used the shard until it ends: a change of the
/// placement can wait for that. A statement that waited for the lock reads the placement again.
#[test]
fn directory_is_read_after_the_lock() {
    let cluster = Cluster::start(2);
    let mut admin = twice(&cluster);
    let mut user = cluster.connect();
    user.batch_execute("BEGIN; SELECT v FROM d.t").unwrap();
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'object' \
                AND classid = 'helios.shard'::regclass AND mode = 'AccessShareLock' AND granted";
    assert_eq!(value(&mut admin, held).unwrap().as_deref(), Some("1"));
    user.batch_execute("COMMIT").unwrap();
    assert_eq!(value(&mut admin, held).unwrap().as_deref(), Some("0"));
}

#[test]
fn directory_covers_all_keys_whatever_is_done_to_it() {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    for sql in [
        "DELETE FROM helios.shard WHERE id = (SELECT min(id) FROM helios.shard)",
        "UPDATE helios.shard SET slot_to = slot_to + 1 WHERE id = (SELECT min(id) FROM helios.shard)",
        "TRUNCATE helios.shard CASCADE",
        "DELETE FROM helios.node",
        "UPDATE helios.node SET name = ''",
        "UPDATE helios.shard SET node = 77",
    ] {
        assert!(client.batch_execute(sql).is_err(), "{sql}: no error");
        client.batch_execute("ROLLBACK").unwrap();
    }
    client.batch_execute("CREATE SCHEMA still DISTRIBUTED; CREATE TABLE still.t (x int)").unwrap();
}
