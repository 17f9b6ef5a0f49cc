//! Health checks of the nodes: what they report, and how they help clients.

use std::time::{Duration, Instant};

use helios_tests::{Cluster, wait_until};
use postgres::{Client, NoTls};
use testkit::cluster::DATABASE;

use crate::lost_nodes::Frozen;
use crate::{BOUND, assert_code, assert_usable, cluster_with_table, wire};

/// Waits until `helios.node_health` has this state for node 1.
fn wait_for_state(client: &mut Client, state: &str) {
    wait_until(&format!("node 1 is {state}"), BOUND, || {
        let rows = client.query("SELECT state FROM helios.node_health(1)", &[]).unwrap();
        let seen: Option<String> = rows.first().map(|row| row.get(0));
        if seen.as_deref() == Some(state) { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

fn often(client: &mut Client) {
    client.batch_execute("ALTER SYSTEM SET helios.health_interval = '200ms'").unwrap();
    client.batch_execute("SELECT pg_reload_conf()").unwrap();
}

/// A node that does not respond at all does not make every new session wait for `helios.connect_timeout`.
#[test]
fn silent_node_is_refused_at_once() {
    let (cluster, mut client) = cluster_with_table("n");
    often(&mut client);
    wait_for_state(&mut client, "online");
    let frozen = Frozen::new(&cluster);
    wait_for_state(&mut client, "offline");
    let mut fresh = wire(&cluster);
    fresh.simple("SET helios.connect_timeout = '60s'", None).unwrap();
    // The first check without a response does not count yet.
    wait_until("the node is refused", BOUND, || {
        let start = Instant::now();
        fresh.simple("SET statement_timeout = '5s'", None).unwrap();
        let events = fresh.simple("SELECT count(*) FROM n.t", None).unwrap();
        let text = format!("{events:?}");
        if !text.contains("is offline") {
            return Err(text);
        }
        assert_code(&events, "08001");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        Ok(())
    });
    let state: String = client
        .query_one("SELECT state FROM helios_nodes WHERE name = 'node-1'", &[])
        .unwrap()
        .get(0);
    assert_eq!(state, "offline");
    drop(frozen);
    wait_for_state(&mut client, "online");
    assert_usable(&mut fresh, "n");
}

#[test]
fn node_with_a_dead_address_is_degraded() {
    let (cluster, mut client) = cluster_with_table("n");
    often(&mut client);
    // Nothing listens on the discard port.
    let second =
        "UPDATE helios.node SET hosts = hosts || '{127.0.0.1}', ports = ports || 9 WHERE id = 1";
    client.batch_execute(second).unwrap();
    wait_for_state(&mut client, "degraded");
    let state: String = client
        .query_one("SELECT state FROM helios_nodes WHERE name = 'node-1'", &[])
        .unwrap()
        .get(0);
    assert_eq!(state, "degraded");
    assert_usable(&mut wire(&cluster), "n");
    cluster.kill_node(1);
    wait_for_state(&mut client, "offline");
    cluster.start_node(1);
    wait_for_state(&mut client, "degraded");
}

/// A failed session triggers a check, and a node that is down is checked again soon, however long the interval.
#[test]
fn failures_are_followed_up_between_the_regular_looks() {
    let (cluster, mut client) = cluster_with_table("n");
    wait_for_state(&mut client, "online");
    client.batch_execute("ALTER SYSTEM SET helios.health_interval = '1h'").unwrap();
    client.batch_execute("SELECT pg_reload_conf()").unwrap();
    cluster.kill_node(1);
    let mut wire = wire(&cluster);
    let events = wire.simple("SELECT count(*) FROM n.t", None).unwrap();
    assert_code(&events, "08001");
    wait_for_state(&mut client, "offline");
    cluster.start_node(1);
    assert_usable(&mut wire, "n");
    wait_for_state(&mut client, "online");
}

/// The worker connected to a database leaves it when connections are no longer allowed.
#[test]
fn databases_with_a_worker_are_dropped_and_renamed() {
    let (cluster, mut client) = cluster_with_table("n");
    client.batch_execute("CREATE DATABASE second").unwrap();
    let mut second = connect(&cluster, "second");
    second.batch_execute("CREATE EXTENSION helios").unwrap();
    let node = cluster.node(1).port;
    cluster.connect_to_node(1).batch_execute("CREATE DATABASE second").unwrap();
    let mut there = cluster.node(1).connect("second").unwrap();
    there.batch_execute("CREATE EXTENSION helios").unwrap();
    drop(there);
    let add = format!("SELECT helios_add_node('n', '127.0.0.1', {node}, database => 'second')");
    second.batch_execute(&add).unwrap();
    drop(second);
    for statement in [
        "ALTER DATABASE second RENAME TO third",
        "CREATE DATABASE copy TEMPLATE third",
        "DROP DATABASE third",
        "DROP DATABASE copy",
    ] {
        wait_until("a worker stays with the database", BOUND, || {
            let query = "SELECT string_agg(datname, ',') FROM pg_stat_activity \
                         WHERE backend_type = 'helios worker'";
            let seen: Option<String> = client.query_one(query, &[]).unwrap().get(0);
            let seen = seen.unwrap_or_default();
            // The copy is the directory of another cluster, but it has nodes all the same.
            let expected =
                if statement.contains("copy") { "" } else { statement.split(' ').nth(2).unwrap() };
            if seen.contains(expected) { Ok(()) } else { Err(seen) }
        });
        client.batch_execute(statement).unwrap();
    }
}

fn connect(cluster: &Cluster, database: &str) -> Client {
    cluster.coordinator().config(database).connect(NoTls).unwrap()
}

#[test]
fn the_worker_ends_with_the_extension() {
    let (cluster, mut client) = cluster_with_table("n");
    client.batch_execute("DROP SCHEMA n CASCADE").unwrap();
    client.batch_execute("SELECT helios_remove_node('node-1')").unwrap();
    client.batch_execute("DROP EXTENSION helios").unwrap();
    wait_until("no worker is left", BOUND, || {
        let query = "SELECT count(*) FROM pg_stat_activity \
                     WHERE backend_type = 'helios worker' AND datname = $1";
        let count: i64 = client.query_one(query, &[&DATABASE]).unwrap().get(0);
        if count == 0 { Ok(()) } else { Err(format!("{count} workers")) }
    });
    drop(cluster);
}
