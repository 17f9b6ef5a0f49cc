//! Replicas are kept up to date, read, waited for and promoted; nothing promised is lost, nothing is left behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails by panicking"
)]

mod crashes;
mod keeping;
mod promotion;
mod reads;
mod refusals;
mod synchronous;

use helios_tests::{BOUND, Cluster, assert_clean, text, wait_until};
use postgres::Client;

/// Settings of every server in these tests.
const SETTINGS: [&str; 3] =
    ["max_worker_processes = 32", "helios.replica_interval = 100", "helios.health_interval = 500"];

fn cluster(nodes: usize) -> Cluster {
    Cluster::with_settings(nodes, &SETTINGS)
}

/// Requests this many copies of a schema, and waits until all are in sync.
#[track_caller]
fn replicate(client: &mut Client, schema: &str, copies: i32) {
    client.query("SELECT helios_set_replicas($1::text, $2)", &[&schema, &copies]).unwrap();
    in_step(client, schema, usize::try_from(copies - 1).unwrap());
}

/// Waits until a schema has exactly this many copies, all in sync; returns their nodes.
#[track_caller]
fn in_step(client: &mut Client, schema: &str, copies: usize) -> Vec<String> {
    let select =
        "SELECT node::text, state FROM helios_replicas WHERE $1::name = ANY (schemas) ORDER BY 1";
    wait_until("the copies are in sync", BOUND, || {
        let rows = client.query(select, &[&schema]).unwrap();
        let found: Vec<(String, String)> =
            rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        match found.len() == copies && found.iter().all(|(_, state)| state == "in_step") {
            true => Ok(found.into_iter().map(|(node, _)| node).collect()),
            false => Err(format!("{found:?}\n{}", migrations(client))),
        }
    })
}

fn migrations(client: &mut Client) -> String {
    let rows = text(client, "SELECT m::text FROM helios.migration m ORDER BY id");
    rows.join("\n")
}

/// Name of the schema's node.
fn node_of(client: &mut Client, schema: &str) -> String {
    helios_tests::node_of(client, schema).unwrap()
}

/// ID of a node by its name.
fn number(node: &str) -> usize {
    node.trim_start_matches("node-").parse().unwrap()
}

/// Waits until a query has the same result on the coordinator and on a node directly.
#[track_caller]
fn same_there(cluster: &Cluster, client: &mut Client, node: usize, query: &str) {
    let mut there = cluster.connect_to_node(node);
    wait_until("the copy has everything", BOUND, || {
        let (one, other) = (text(client, query), text(&mut there, query));
        if one == other { Ok(()) } else { Err(format!("{one:?} here, {other:?} there")) }
    });
}

/// A connection to a node that blocks its apply worker from applying changes to a table, until dropped.
fn stop_applying(cluster: &Cluster, node: usize, table: &str) -> Client {
    let mut holder = cluster.connect_to_node(node);
    holder
        .batch_execute(&format!(
            "SET helios.migration_session = on; BEGIN; LOCK TABLE {table} IN SHARE MODE"
        ))
        .unwrap();
    holder
}
