//! Migrations: schemas move with all that is in them while they are used, and can be brought back; nothing is lost,
//! nothing is left behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails by panicking"
)]

mod contents;
mod crashes;
mod home;
mod imports;
mod races;
mod refusals;
mod under_load;
mod verification;
mod wishes;

use helios_tests::{BOUND, Cluster, wait_until};
use postgres::Client;

/// What every server of these tests is started with.
const SETTINGS: [&str; 2] = ["max_worker_processes = 24", "helios.rollback_window = 3600"];

fn cluster(nodes: usize) -> Cluster {
    Cluster::with_settings(nodes, &SETTINGS)
}

/// Begins to move a schema.
#[track_caller]
fn begin(client: &mut Client, schema: &str, node: &str) -> i64 {
    let query = "SELECT helios_migrate_schema($1, $2)";
    client.query_one(query, &[&schema, &node]).unwrap().get(0)
}

/// Waits for a migration to switch or end.
#[track_caller]
fn wait(client: &mut Client, id: i64) -> String {
    let query = format!("SELECT helios_wait_for_migration($1, '{} seconds')", BOUND.as_secs());
    let waited = client.query_one(&query, &[&id]).map(|row| row.get(0));
    waited.unwrap_or_else(|error| panic!("{error}\n{}", shown(client, id)))
}

/// Moves a schema as far as its switch.
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

/// A migration's row.
fn shown(client: &mut Client, id: i64) -> String {
    let query = "SELECT m::text FROM helios.migration m WHERE id = $1";
    client.query_opt(query, &[&id]).unwrap().map_or("no row".into(), |row| row.get(0))
}

fn node_of(client: &mut Client, schema: &str) -> Option<String> {
    client.query_one("SELECT helios_node_for_schema($1)", &[&schema]).unwrap().get(0)
}

/// Everything that migrations make on servers, except what the fences' and markers' tables are.
const TRACES: &str = "SELECT 'slot ' || slot_name FROM pg_replication_slots \
    UNION ALL SELECT 'subscription ' || subname FROM pg_subscription \
    UNION ALL SELECT 'publication ' || pubname FROM pg_publication \
    UNION ALL SELECT 'origin ' || roname FROM pg_replication_origin \
    UNION ALL SELECT 'fence of ' || schema FROM helios.fence \
    UNION ALL SELECT 'marker ' || direction FROM helios.migration_marker \
    UNION ALL SELECT 'prepared ' || gid FROM pg_prepared_xacts WHERE gid <> 'mine' \
    UNION ALL SELECT 'noted ' || kind || ' ' || name FROM helios.cleanup \
    UNION ALL SELECT 'table of migration ' || migration FROM helios.migration_table \
    UNION ALL SELECT 'identity of ' || oid::regclass FROM pg_class WHERE relreplident <> 'd' \
                AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace) \
                AND relkind IN ('r', 'p') AND relname !~ 'identity' \
    UNION ALL SELECT 'session ' || application_name || ': ' || query FROM pg_stat_activity \
               WHERE application_name LIKE 'helios migration%'";

/// Nothing of any migration is left on any server, and each schema is on its own node alone.
#[track_caller]
fn assert_clean(cluster: &Cluster, schemas: &[&str]) {
    let mut coordinator = cluster.connect();
    wait_until("nothing of a migration is left", BOUND, || {
        let mut seen = Vec::new();
        for number in 0..=cluster.nodes().len() {
            let mut client =
                if number == 0 { cluster.connect() } else { cluster.connect_to_node(number) };
            let left = client.query(TRACES, &[]).unwrap();
            seen.extend(
                left.iter().map(|row| format!("server {number}: {}", row.get::<_, String>(0))),
            );
        }
        if seen.is_empty() { Ok(()) } else { Err(format!("{seen:#?}")) }
    });
    for schema in schemas {
        let home = node_of(&mut coordinator, schema);
        for number in 1..=cluster.nodes().len() {
            let there = "SELECT FROM pg_namespace WHERE nspname = $1";
            let there =
                !cluster.connect_to_node(number).query(there, &[schema]).unwrap().is_empty();
            let name = format!("node-{number}");
            assert_eq!(there, home.as_ref() == Some(&name), "schema {schema} on {name}");
        }
    }
    let moving = "SELECT count(*) FROM helios.shard WHERE state <> 'active'";
    assert_eq!(coordinator.query_one(moving, &[]).unwrap().get::<_, i64>(0), 0);
}

/// The result of a query as text.
fn text(client: &mut Client, query: &str) -> Vec<String> {
    let messages = client.simple_query(query).unwrap_or_else(|error| panic!("{query}: {error:?}"));
    let row = |message: &postgres::SimpleQueryMessage| match message {
        postgres::SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|i| row.get(i).unwrap_or("NULL")).collect::<Vec<_>>().join("|"))
        }
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}
