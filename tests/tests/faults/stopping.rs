//! Interrupting a statement here interrupts it on its node as well.

use helios_tests::{Cluster, Event, Wire};

use crate::{
    assert_code, assert_usable, cluster_with_table, wait_for_silence, wait_for_statement, wire,
};

const SLEEP: &str = "SELECT pg_sleep(600) FROM s.t LIMIT 1";

/// A statement that sleeps on the node, sent without waiting for it.
fn sleeping(cluster: &Cluster) -> Wire {
    let mut wire = wire(cluster);
    wire.send_simple(SLEEP).unwrap();
    wait_for_statement(cluster, "pg_sleep");
    wire
}

#[test]
fn cancel_request_stops_the_node() {
    let (cluster, _client) = cluster_with_table("s");
    let mut wire = sleeping(&cluster);
    wire.cancel(cluster.coordinator()).unwrap();
    let events = wire.until_ready(None).unwrap();
    assert_code(&events, "57014");
    wait_for_silence(&cluster);
    assert_usable(&mut wire, "s");
}

#[test]
fn pg_cancel_backend_stops_the_node() {
    let (cluster, mut client) = cluster_with_table("s");
    let mut wire = sleeping(&cluster);
    client.query_one("SELECT pg_cancel_backend($1)", &[&wire.pid]).unwrap();
    assert_code(&wire.until_ready(None).unwrap(), "57014");
    wait_for_silence(&cluster);
    assert_usable(&mut wire, "s");
}

#[test]
fn pg_terminate_backend_stops_the_node() {
    let (cluster, mut client) = cluster_with_table("s");
    let mut wire = sleeping(&cluster);
    client.query_one("SELECT pg_terminate_backend($1)", &[&wire.pid]).unwrap();
    let event = crate::next_error(&mut wire);
    assert_eq!(event.field('C'), Some("57P01"), "{event:?}");
    wait_for_silence(&cluster);
}

#[test]
fn statement_timeout_stops_the_node() {
    let (cluster, _client) = cluster_with_table("s");
    let mut wire = wire(&cluster);
    for block in ["", "BEGIN; "] {
        let events = wire.simple(&format!("SET statement_timeout = '200ms'; {block}{SLEEP}"), None);
        let events = events.unwrap();
        assert_code(&events, "57014");
        let message = crate::error(&events).field('M').unwrap().to_owned();
        assert!(message.contains("statement timeout"), "{message}");
        wait_for_silence(&cluster);
        wire.simple("ROLLBACK; RESET statement_timeout", None).unwrap();
        assert_usable(&mut wire, "s");
    }
}

#[test]
fn lock_timeout_holds_on_the_node() {
    let (cluster, mut client) = cluster_with_table("s");
    let mut blocker = client.transaction().unwrap();
    blocker.execute("UPDATE s.t SET x = x WHERE x = 1", &[]).unwrap();
    let mut wire = wire(&cluster);
    let statement = "SET lock_timeout = '100ms'; UPDATE s.t SET x = x WHERE x = 1";
    assert_code(&wire.simple(statement, None).unwrap(), "55P03");
    blocker.rollback().unwrap();
    assert_usable(&mut wire, "s");
}

#[test]
fn cancel_ends_a_wait_for_a_lock_on_the_node() {
    let (cluster, mut client) = cluster_with_table("s");
    let mut blocker = client.transaction().unwrap();
    blocker.execute("UPDATE s.t SET x = x WHERE x = 1", &[]).unwrap();
    let mut wire = wire(&cluster);
    wire.send_simple("DELETE FROM s.t WHERE x = 1").unwrap();
    wait_for_statement(&cluster, "DELETE");
    wire.cancel(cluster.coordinator()).unwrap();
    assert_code(&wire.until_ready(None).unwrap(), "57014");
    wait_for_silence(&cluster);
    blocker.commit().unwrap();
    let events = wire.simple("SELECT count(*) FROM s.t", None).unwrap();
    assert!(events.contains(&Event::Row(vec![Some(b"1000".to_vec())])), "{events:?}");
}

/// A client that disconnects in the middle of a result that it does not read.
#[test]
fn client_that_disconnects_in_the_middle_of_a_result() {
    let (cluster, _client) = cluster_with_table("s");
    let mut wire = wire(&cluster);
    wire.send_simple("SELECT repeat('x', 10000) FROM s.t a, s.t b").unwrap();
    while !matches!(wire.event().unwrap(), Event::Row(_)) {}
    drop(wire);
    wait_for_silence(&cluster);
    assert_usable(&mut crate::wire(&cluster), "s");
}

/// A client that disconnects while the node is computing, which only a check can detect.
#[test]
fn client_that_disconnects_while_the_node_computes() {
    let (cluster, _client) = cluster_with_table("s");
    let mut wire = wire(&cluster);
    wire.simple("SET client_connection_check_interval = '100ms'", None).unwrap();
    wire.send_simple(SLEEP).unwrap();
    wait_for_statement(&cluster, "pg_sleep");
    drop(wire);
    wait_for_silence(&cluster);
}

#[test]
fn client_that_disconnects_in_a_copy() {
    let (cluster, mut client) = cluster_with_table("s");
    let mut wire = wire(&cluster);
    wire.send_simple("COPY s.t FROM STDIN").unwrap();
    while !matches!(wire.event().unwrap(), Event::CopyIn(..)) {}
    wire.copy_data(b"5000\n").unwrap();
    wait_for_statement(&cluster, "COPY");
    drop(wire);
    wait_for_silence(&cluster);
    let rows: i64 = client.query_one("SELECT count(*) FROM s.t", &[]).unwrap().get(0);
    assert_eq!(rows, 1000);
}

#[test]
fn cancel_in_a_copy_out_and_in_a_cursor() {
    let (cluster, _client) = cluster_with_table("s");
    let mut wire = wire(&cluster);
    let slow = "COPY (SELECT pg_sleep(0.05), repeat('x', 9000) FROM s.t) TO STDOUT";
    wire.send_simple(slow).unwrap();
    while !matches!(wire.event().unwrap(), Event::Data(_)) {}
    wire.cancel(cluster.coordinator()).unwrap();
    assert_code(&wire.until_ready(None).unwrap(), "57014");
    wait_for_silence(&cluster);
    wire.simple(
        "BEGIN; DECLARE c CURSOR FOR SELECT x, pg_sleep(600 * (x - 1)) FROM s.t ORDER BY x",
        None,
    )
    .unwrap();
    wire.send_simple("FETCH 3 FROM c").unwrap();
    wait_for_statement(&cluster, "FETCH FORWARD 3");
    wire.cancel(cluster.coordinator()).unwrap();
    assert_code(&wire.until_ready(None).unwrap(), "57014");
    wait_for_silence(&cluster);
    wire.simple("ROLLBACK", None).unwrap();
    assert_usable(&mut wire, "s");
}

/// Sessions that are idle in transaction are terminated on the node when they are terminated here.
#[test]
fn idle_in_transaction_timeout_frees_the_nodes_locks() {
    let (cluster, mut client) = cluster_with_table("s");
    let mut wire = wire(&cluster);
    let statement = "SET idle_in_transaction_session_timeout = '200ms'; BEGIN; \
                     UPDATE s.t SET x = x WHERE x = 1";
    wire.simple(statement, None).unwrap();
    client.batch_execute("SET lock_timeout = '60s'; DELETE FROM s.t WHERE x = 1").unwrap();
    let event = crate::next_error(&mut wire);
    assert_eq!(event.field('C'), Some("25P03"), "{event:?}");
}
