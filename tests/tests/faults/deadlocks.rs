//! Transactions that wait for each other on several servers, which no server's own deadlock detector can detect.

use helios_tests::{Cluster, Event, Wire, wait_until};
use postgres::Client;

use crate::{BOUND, assert_code, wire};

/// Two nodes with a tenant each, `a` on the first and `b` on the second, and a table on the coordinator. Lock waits
/// are checked for deadlocks early.
fn two_tenants() -> (Cluster, Client) {
    let cluster = Cluster::with_settings(2, &["deadlock_timeout = 200ms"]);
    let mut client = cluster.connect();
    let tenant = |schema: &str, node: &str| {
        format!(
            "CREATE SCHEMA {schema} DISTRIBUTED ON NODE \"{node}\"; \
             CREATE TABLE {schema}.t (id int PRIMARY KEY, v int); \
             INSERT INTO {schema}.t SELECT i, 0 FROM generate_series(1, 10) i;"
        )
    };
    client.batch_execute(&tenant("a", "node-1")).unwrap();
    client.batch_execute(&tenant("b", "node-2")).unwrap();
    client.batch_execute("CREATE TABLE public.here (id int)").unwrap();
    (cluster, client)
}

#[track_caller]
fn run(wire: &mut Wire, sql: &str) {
    let events = wire.simple(sql, None).unwrap();
    assert!(!events.iter().any(|event| matches!(event, Event::Error(_))), "{sql}: {events:?}");
}

/// Waits until the node has a session that waits for a lock with this statement.
fn wait_for_lock(cluster: &Cluster, node: usize, statement: &str) {
    let mut client = cluster.connect_to_node(node);
    wait_until(&format!("{statement:?} waits on node {node}"), BOUND, || {
        let query = "SELECT coalesce(string_agg(query, '; '), '') FROM pg_stat_activity \
                     WHERE wait_event_type = 'Lock'";
        let waiting: String = client.query_one(query, &[]).unwrap().get(0);
        if waiting.contains(statement) { Ok(()) } else { Err(waiting) }
    });
}

fn value(client: &mut Client, schema: &str) -> i32 {
    client.query_one(&format!("SELECT v FROM {schema}.t WHERE id = 1"), &[]).unwrap().get(0)
}

/// Both update a row of one tenant each, then wait for the other: the transaction that started last is the victim, and
/// the other one continues.
fn young_one_ends_it(cluster: &Cluster, old: &mut Wire, young: &mut Wire) {
    run(old, "BEGIN; UPDATE a.t SET v = 1 WHERE id = 1");
    run(young, "BEGIN; UPDATE b.t SET v = 2 WHERE id = 1");
    old.send_simple("UPDATE b.t SET v = 1 WHERE id = 1").unwrap();
    wait_for_lock(cluster, 2, "SET v = 1");
    let events = young.simple("UPDATE a.t SET v = 2 WHERE id = 1", None).unwrap();
    assert_code(&events, "40P01");
    assert_eq!(events.last(), Some(&Event::Ready('E')));
    run(young, "ROLLBACK");
    let events = old.until_ready(None).unwrap();
    assert!(events.contains(&Event::Complete("UPDATE 1".to_owned())), "{events:?}");
}

#[test]
fn deadlock_over_two_nodes_ends_with_the_youngest() {
    let (cluster, mut client) = two_tenants();
    let (mut old, mut young) = (wire(&cluster), wire(&cluster));
    young_one_ends_it(&cluster, &mut old, &mut young);
    run(&mut old, "COMMIT");
    assert_eq!((value(&mut client, "a"), value(&mut client, "b")), (1, 1));
    // Both sessions continue.
    run(&mut young, "UPDATE a.t SET v = 3 WHERE id = 1; UPDATE b.t SET v = 3 WHERE id = 1");
}

/// The older one has waited for a long time when the cycle closes, the younger one only starts to: it is the victim
/// nevertheless.
#[test]
fn deadlock_ends_with_the_youngest_though_it_has_just_begun_to_wait() {
    let (cluster, _client) = two_tenants();
    let (mut old, mut young) = (wire(&cluster), wire(&cluster));
    run(&mut young, "SET deadlock_timeout = '350ms'"); // its wait is seen a few checks after the other one's
    young_one_ends_it(&cluster, &mut old, &mut young);
}

/// One waits on a node, the other one here: only the first can be cancelled.
#[test]
fn deadlock_between_a_node_and_the_coordinator() {
    let (cluster, mut client) = two_tenants();
    let (mut first, mut second) = (wire(&cluster), wire(&cluster));
    run(&mut first, "BEGIN; LOCK TABLE public.here");
    run(&mut second, "BEGIN; UPDATE a.t SET v = 2 WHERE id = 1");
    second.send_simple("LOCK TABLE public.here").unwrap();
    wait_until("the second one waits here", BOUND, || {
        let query = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        let count: i64 = client.query_one(query, &[]).unwrap().get(0);
        if count == 1 { Ok(()) } else { Err(format!("{count} wait")) }
    });
    let events = first.simple("UPDATE a.t SET v = 1 WHERE id = 1", None).unwrap();
    assert_code(&events, "40P01");
    run(&mut first, "ROLLBACK");
    second.until_ready(None).unwrap();
    run(&mut second, "COMMIT");
    assert_eq!(value(&mut client, "a"), 2);
}

/// A client connected to the node directly is part of the cycle; it cannot be cancelled from here.
#[test]
fn deadlock_with_a_direct_client_of_a_node() {
    let (cluster, mut client) = two_tenants();
    let mut direct = Wire::connect(cluster.node(1), testkit::cluster::DATABASE);
    let (mut old, mut young) = (wire(&cluster), wire(&cluster));
    run(&mut young, "BEGIN; UPDATE a.t SET v = 2 WHERE id = 2");
    run(&mut old, "BEGIN; UPDATE b.t SET v = 1 WHERE id = 1");
    run(&mut direct, "BEGIN; UPDATE a.t SET v = 9 WHERE id = 1");
    old.send_simple("UPDATE a.t SET v = 1 WHERE id = 1").unwrap(); // for the direct one
    wait_for_lock(&cluster, 1, "SET v = 1");
    direct.send_simple("UPDATE a.t SET v = 9 WHERE id = 2").unwrap(); // for young
    wait_for_lock(&cluster, 1, "SET v = 9");
    young.send_simple("UPDATE b.t SET v = 2 WHERE id = 1").unwrap(); // for old
    // Which of the two started last is a matter of microseconds: one of them is cancelled, and then all continue.
    let events = [young.until_ready(None).unwrap(), {
        run_or_fail(&mut young);
        direct.until_ready(None).unwrap()
    }];
    run(&mut direct, "COMMIT");
    let last = old.until_ready(None).unwrap();
    run_or_fail(&mut old);
    let failed: Vec<_> = events
        .iter()
        .chain([&last])
        .flatten()
        .filter(|event| matches!(event, Event::Error(_)))
        .collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].field('C'), Some("40P01"));
    assert_eq!(
        value(&mut client, "a"),
        if matches!(last.first(), Some(Event::Error(_))) { 9 } else { 1 }
    );
}

fn run_or_fail(wire: &mut Wire) {
    wire.simple("COMMIT", None).unwrap();
}

#[test]
fn long_waits_that_are_no_deadlock_go_on() {
    let (cluster, mut client) = two_tenants();
    let (mut holder, mut waiter, mut last) = (wire(&cluster), wire(&cluster), wire(&cluster));
    run(&mut holder, "BEGIN; UPDATE a.t SET v = 1 WHERE id = 1");
    waiter.send_simple("UPDATE a.t SET v = v + 1 WHERE id = 1").unwrap();
    wait_for_lock(&cluster, 1, "v + 1");
    last.send_simple("UPDATE a.t SET v = v + 2 WHERE id = 1").unwrap();
    wait_for_lock(&cluster, 1, "v + 2");
    // Several rounds of the detector.
    client.batch_execute("SELECT pg_sleep(1.5)").unwrap();
    run(&mut holder, "COMMIT");
    for wire in [&mut waiter, &mut last] {
        let events = wire.until_ready(None).unwrap();
        assert!(events.contains(&Event::Complete("UPDATE 1".to_owned())), "{events:?}");
    }
    assert_eq!(value(&mut client, "a"), 4);
}
