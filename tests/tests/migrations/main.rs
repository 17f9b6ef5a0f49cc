//! Migrations: schemas move with all their contents while in use, and can be moved back; nothing is lost,
//! nothing is left behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails by panicking"
)]

mod accepted;
mod at_every_place;
mod colocation;
mod concurrently;
mod contents;
mod crashes;
mod details;
mod failover;
mod full_disk;
mod hostile_text;
mod imports;
mod inheritance;
mod known_mistakes;
mod outside;
mod owners;
mod plain_on_nodes;
mod races;
mod refusals;
mod requests;
mod rights;
mod schemaless;
mod sessions;
mod several_places;
mod tenant_code;
mod timeouts;
mod types;
mod under_load;
mod undistribute;
mod unreachable;
mod verification;
mod waiting;

use helios_tests::{
    BOUND, Cluster, Stop, assert_clean, assert_clean_on, node_of, text, wait_until,
};
use postgres::Client;

/// Settings of every server in these tests.
const SETTINGS: [&str; 3] = [
    "max_worker_processes = 24",
    "helios.rollback_window = 3600",
    "helios.recovery_interval = '500ms'",
];

fn cluster(nodes: usize) -> Cluster {
    Cluster::with_settings(nodes, &SETTINGS)
}

/// A cluster whose coordinator stops at failpoints; see [`begin_up_to`].
fn cluster_with_failpoints(nodes: usize, more: &[&str]) -> Cluster {
    Cluster::with_failpoints(nodes, &[&SETTINGS, more].concat())
}

/// Starts moving schema `t` to a node. The worker stops at this failpoint until [`go_on`].
#[track_caller]
fn begin_up_to(cluster: &Cluster, place: &str, node: &str) -> i64 {
    cluster.failpoint(place, "hang", 0, 0);
    let id = begin(&mut cluster.connect(), "t", node);
    cluster.wait_for_failpoint(place, BOUND);
    id
}

/// Releases a worker that waits at a failpoint.
fn go_on(cluster: &Cluster, place: &str) {
    cluster.failpoint_off(place, BOUND);
}

/// Releases a worker that waits at a failpoint when dropped, however the test ends: sessions waiting for it would otherwise
/// wait forever.
struct Opening<'a>(&'a Cluster, &'a str);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        go_on(self.0, self.1);
    }
}

/// Starts moving a schema.
#[track_caller]
fn begin(client: &mut Client, schema: &str, node: &str) -> i64 {
    let query = "SELECT helios_migrate_schema($1, $2)";
    client.query_one(query, &[&schema, &node]).unwrap().get(0)
}

/// ID of the migration started last.
fn last_migration(client: &mut Client) -> i64 {
    client.query_one("SELECT max(id) FROM helios_migrations", &[]).unwrap().get(0)
}

/// Terminates the worker of a migration; another one takes over.
#[track_caller]
fn end_worker(client: &mut Client) {
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'helios migration'";
    assert_eq!(text(client, end), ["1"]);
}

/// Waits until a migration has switched or ended.
#[track_caller]
fn wait(client: &mut Client, id: i64) -> String {
    let query = format!("SELECT helios_wait_for_migration($1, '{} seconds')", BOUND.as_secs());
    let waited = client.query_one(&query, &[&id]).map(|row| row.get(0));
    waited.unwrap_or_else(|error| panic!("{error}\n{}", shown(client, id)))
}

/// Moves a schema up to the switch.
#[track_caller]
fn switch(client: &mut Client, schema: &str, node: &str) -> i64 {
    let id = begin(client, schema, node);
    assert_eq!(wait(client, id), "dual_write_back", "{}", shown(client, id));
    id
}

#[track_caller]
fn finish(client: &mut Client, id: i64) {
    client.query("SELECT helios_finish_migration($1)", &[&id]).unwrap();
    assert_eq!(wait(client, id), "finished", "{}", shown(client, id));
}

#[track_caller]
fn roll_back(client: &mut Client, id: i64) {
    client.query("SELECT helios_rollback_migration($1)", &[&id]).unwrap();
    assert_eq!(wait(client, id), "rolled_back", "{}", shown(client, id));
}

/// The row of a migration.
fn shown(client: &mut Client, id: i64) -> String {
    let query = "SELECT m::text FROM helios.migration m WHERE id = $1";
    client.query_opt(query, &[&id]).unwrap().map_or("no row".into(), |row| row.get(0))
}

/// Waits until a migration's row as text contains these words.
#[track_caller]
fn wait_to_show(client: &mut Client, id: i64, words: &str) {
    wait_until(&format!("migration {id} shows {words:?}"), BOUND, || {
        let seen = shown(client, id);
        if seen.contains(words) { Ok(()) } else { Err(seen) }
    });
}
