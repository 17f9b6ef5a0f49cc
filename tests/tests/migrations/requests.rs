//! Cancel, roll back, finish: in any state, by any role that is permitted to.

use std::time::Duration;

use helios_tests::{BOUND, Cluster, wait_until};
use postgres::Client;

use crate::{assert_clean, begin, cluster, finish, node_of, roll_back, shown, switch, text, wait};

const TENANT: &str = "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; \
    CREATE TABLE t.a (id serial PRIMARY KEY, v text); INSERT INTO t.a (v) SELECT md5(i::text) FROM generate_series(1, 20000) i; \
    CREATE TABLE t.nokey (x int); INSERT INTO t.nokey SELECT 1 FROM generate_series(1, 10);";

fn tenant(settings: &[&str]) -> (Cluster, Client) {
    let mut all = crate::SETTINGS.to_vec();
    all.extend(settings);
    let cluster = Cluster::with_settings(2, &all);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    (cluster, client)
}

#[test]
fn there_and_back_and_there_with_every_write() {
    let (cluster, mut client) = tenant(&[]);
    let write = |client: &mut Client, v: &str| {
        let insert = "INSERT INTO t.a (v) VALUES ($1) RETURNING id";
        client.query_one(insert, &[&v]).unwrap().get::<_, i32>(0)
    };
    let first = write(&mut client, "before");
    let id = switch(&mut client, "t", "node-2");
    let second = write(&mut client, "there");
    client.batch_execute("UPDATE t.a SET v = 'changed' WHERE id = 5; DELETE FROM t.a WHERE id = 6; DELETE FROM t.nokey WHERE ctid = '(0,1)'").unwrap();
    roll_back(&mut client, id);
    let third = write(&mut client, "back");
    assert!(first < second && second < third, "{first} {second} {third}");
    let found =
        "SELECT v FROM t.a WHERE id IN (5, 6) OR v IN ('before', 'there', 'back') ORDER BY id";
    assert_eq!(text(&mut client, found), ["changed", "before", "there", "back"]);
    assert_eq!(text(&mut client, "SELECT count(*) FROM t.nokey"), ["9"]);
    assert_clean(&cluster, &["t"]);
    let id = switch(&mut client, "t", "node-2");
    assert_eq!(text(&mut client, found), ["changed", "before", "there", "back"]);
    finish(&mut client, id);
    assert_eq!(text(&mut client, found), ["changed", "before", "there", "back"]);
    assert_clean(&cluster, &["t"]);
    let home = text(&mut client, "SELECT state FROM helios_migrations ORDER BY id");
    assert_eq!(home, ["rolled_back", "finished"]);
}

#[test]
fn cancelled_at_once() {
    let (cluster, mut client) = tenant(&[]);
    let mut transaction = client.transaction().unwrap();
    let id: i64 =
        transaction.query_one("SELECT helios_migrate_schema('t', 'node-2')", &[]).unwrap().get(0);
    transaction.query("SELECT helios_cancel_migration($1)", &[&id]).unwrap();
    transaction.commit().unwrap();
    assert_eq!(wait(&mut client, id), "cancelled");
    assert_eq!(node_of(&mut client, "t").as_deref(), Some("node-1"));
    assert_clean(&cluster, &["t"]);
}

#[test]
fn cancelled_while_rows_are_copied() {
    let (cluster, mut client) = tenant(&["helios.migration_rate = 1000"]);
    let id = begin(&mut client, "t", "node-2");
    wait_until("rows are copied", BOUND, || {
        let seen = shown(&mut client, id);
        let state =
            "SELECT state = 'backfill' AND rows_done > 0 FROM helios_migrations WHERE id = $1";
        let copying: bool = client.query_one(state, &[&id]).unwrap().get(0);
        if copying { Ok(()) } else { Err(seen) }
    });
    let limited =
        text(&mut client, "SELECT rows_done < rows_total FROM helios_active_migrations()");
    assert_eq!(limited, ["t"]);
    client.query("SELECT helios_cancel_migration($1)", &[&id]).unwrap();
    assert_eq!(wait(&mut client, id), "cancelled");
    assert_clean(&cluster, &["t"]);
    assert_eq!(text(&mut client, "SELECT count(*) FROM t.a"), ["20000"]);
}

#[test]
fn cancelled_while_a_long_transaction_is_in_the_way() {
    let (cluster, mut client) = tenant(&[]);
    let mut other = cluster.connect();
    other.batch_execute("BEGIN; SELECT count(*) FROM t.a").unwrap();
    let id = begin(&mut client, "t", "node-2");
    wait_until("the migration waits", BOUND, || {
        let seen = shown(&mut client, id);
        if seen.contains("waiting for transactions") { Ok(()) } else { Err(seen) }
    });
    // Nobody else is blocked behind it.
    let mut third = cluster.connect();
    third
        .batch_execute("SET statement_timeout = '5s'; INSERT INTO t.a (v) VALUES ('meanwhile')")
        .unwrap();
    client.query("SELECT helios_cancel_migration($1)", &[&id]).unwrap();
    assert_eq!(wait(&mut client, id), "cancelled");
    other.batch_execute("INSERT INTO t.a (v) VALUES ('late'); COMMIT").unwrap();
    assert_clean(&cluster, &["t"]);
}

#[test]
fn a_long_transaction_delays_the_switch_and_is_not_disturbed() {
    let (cluster, mut client) = tenant(&[]);
    let mut other = cluster.connect();
    other.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO t.a (v) VALUES ('open'); DECLARE c CURSOR FOR SELECT id FROM t.a ORDER BY id; FETCH 5 FROM c").unwrap();
    let mut direct = cluster.connect_to_node(1);
    direct.batch_execute("BEGIN; INSERT INTO t.a (v) VALUES ('direct')").unwrap();
    let id = begin(&mut client, "t", "node-2");
    std::thread::sleep(Duration::from_millis(500));
    direct.batch_execute("COMMIT").unwrap();
    assert_eq!(text(&mut other, "FETCH 2 FROM c"), ["6", "7"]);
    other.batch_execute("COMMIT").unwrap();
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    let found = "SELECT v FROM t.a WHERE v IN ('open', 'direct') ORDER BY v";
    assert_eq!(text(&mut client, found), ["direct", "open"]);
    finish(&mut client, id);
    assert_clean(&cluster, &["t"]);
}

#[test]
fn the_window_ends_by_itself() {
    let (cluster, mut client) = tenant(&[]);
    cluster.coordinator().connect("postgres").unwrap();
    client.batch_execute("ALTER SYSTEM SET helios.rollback_window = 1").unwrap();
    client.batch_execute("SELECT pg_reload_conf()").unwrap();
    let id = begin(&mut client, "t", "node-2");
    wait_until("the migration is finished", BOUND, || {
        let done = text(&mut client, "SELECT state FROM helios_migrations") == ["finished"];
        if done { Ok(()) } else { Err(shown(&mut client, id)) }
    });
    assert_clean(&cluster, &["t"]);
}

#[test]
fn requests_that_come_at_the_wrong_time() {
    let (_cluster, mut client) = tenant(&[]);
    let id = switch(&mut client, "t", "node-2");
    let refused = |client: &mut Client, function: &str, id: i64| {
        let error = client.query(&format!("SELECT {function}($1)"), &[&id]).unwrap_err();
        let error = error.as_db_error().unwrap().clone();
        assert!(error.hint().is_some(), "{error:?}");
        error.code().code().to_owned()
    };
    assert_eq!(refused(&mut client, "helios_cancel_migration", id), "55000");
    assert_eq!(refused(&mut client, "helios_cancel_migration", 4711), "42704");
    finish(&mut client, id);
    for function in
        ["helios_cancel_migration", "helios_rollback_migration", "helios_finish_migration"]
    {
        assert_eq!(refused(&mut client, function, id), "55000", "{function}");
    }
    let old = "SELECT helios_cleanup_migrations('0 seconds')";
    assert_eq!(client.query_one(old, &[]).unwrap().get::<_, i64>(0), 1);
    assert_eq!(refused(&mut client, "helios_wait_for_migration", id), "42704");
}

#[test]
fn who_waits_for_a_migration_of_its_own_transaction_is_told() {
    let (_cluster, mut client) = tenant(&[]);
    let mut transaction = client.transaction().unwrap();
    let id: i64 =
        transaction.query_one("SELECT helios_migrate_schema('t', 'node-2')", &[]).unwrap().get(0);
    let error = transaction.query("SELECT helios_wait_for_migration($1)", &[&id]).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55000");
    transaction.rollback().unwrap();
    let none = client.query_one("SELECT count(*) FROM helios_migrations", &[]).unwrap();
    assert_eq!(none.get::<_, i64>(0), 0);
    assert_eq!(cluster_shards(&mut client), 0);
}

fn cluster_shards(client: &mut Client) -> i64 {
    let moving = "SELECT count(*) FROM helios_shards WHERE state <> 'active'";
    client.query_one(moving, &[]).unwrap().get(0)
}

#[test]
fn many_migrations_take_turns() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    for i in 1..=6 {
        client.batch_execute(&format!("CREATE SCHEMA s{i} DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE s{i}.t (id int PRIMARY KEY); INSERT INTO s{i}.t SELECT generate_series(1, 1000)")).unwrap();
    }
    let ids: Vec<i64> = (1..=6).map(|i| begin(&mut client, &format!("s{i}"), "node-2")).collect();
    for (i, id) in (1..).zip(ids) {
        assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
        assert_eq!(text(&mut client, &format!("SELECT count(*) FROM s{i}.t")), ["1000"]);
        finish(&mut client, id);
    }
    assert_clean(&cluster, &["s1", "s2", "s3", "s4", "s5", "s6"]);
}
