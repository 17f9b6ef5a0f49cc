//! Failures around a statement: it is interrupted, its client disconnects, its node dies, hangs
//! or is down. In each case: a clean error, a usable session, nothing left behind on any server.
//! Losing a node in the middle of plain work is tested in `cluster/node_loss.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails by panicking"
)]

mod deadlocks;
mod definitions;
mod failover;
mod frozen;
mod health;
mod leaks;
mod lock_queue;
mod lost_nodes;
mod outcomes;
mod several_places;
mod standby;
mod stopping;
mod tcp;

use helios_tests::{BOUND, Cluster, Event, Wire, wait_until};
use postgres::Client;
use testkit::cluster::DATABASE;

/// A cluster of one node with `schema.t (x int)` of 1,000 rows there.
fn cluster_with_table(schema: &str) -> (Cluster, Client) {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    let script = format!(
        "CREATE SCHEMA {schema} DISTRIBUTED; CREATE TABLE {schema}.t (x int PRIMARY KEY); \
         INSERT INTO {schema}.t SELECT generate_series(1, 1000)"
    );
    client.batch_execute(&script).unwrap();
    (cluster, client)
}

fn wire(cluster: &Cluster) -> Wire {
    Wire::connect(cluster.coordinator(), DATABASE)
}

/// The error among the messages; there must be one, and the session must be ready.
#[track_caller]
fn error(events: &[Event]) -> &Event {
    assert!(matches!(events.last(), Some(Event::Ready(_))), "{events:?}");
    let found = events.iter().find(|event| matches!(event, Event::Error(_)));
    found.unwrap_or_else(|| panic!("no error in {events:?}"))
}

/// Reads messages up to the next error, which may be the last of this session.
fn next_error(wire: &mut Wire) -> Event {
    loop {
        let event = wire.event().unwrap();
        if matches!(event, Event::Error(_)) {
            return event;
        }
    }
}

#[track_caller]
fn assert_code(events: &[Event], code: &str) {
    assert_eq!(error(events).field('C'), Some(code), "{:?}", error(events));
}

/// Clients' statements that the node is running, except this query.
fn active(cluster: &Cluster) -> Vec<String> {
    let sessions = cluster.node_sessions(1);
    sessions.into_iter().filter(|s| s.contains(" active: ")).collect()
}

/// Waits until the node is running a statement that contains `text`.
fn wait_for_statement(cluster: &Cluster, text: &str) {
    wait_until(&format!("the node runs {text:?}"), BOUND, || {
        let active = active(cluster);
        if active.iter().any(|s| s.contains(text)) { Ok(()) } else { Err(format!("{active:?}")) }
    });
}

/// Waits until the node is running no statement.
fn wait_for_silence(cluster: &Cluster) {
    wait_until("the node runs nothing", BOUND, || {
        let active = active(cluster);
        if active.is_empty() { Ok(()) } else { Err(format!("{active:?}")) }
    });
}

/// Asserts that the session responds, and reaches the node.
#[track_caller]
fn assert_usable(wire: &mut Wire, schema: &str) {
    let events = wire.simple(&format!("SELECT count(*) FROM {schema}.t"), None).unwrap();
    let rows: Vec<_> = events.iter().filter(|event| matches!(event, Event::Row(_))).collect();
    assert_eq!(rows.len(), 1, "{events:?}");
    assert_eq!(events.last(), Some(&Event::Ready('I')));
}
