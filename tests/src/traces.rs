//! What migrations and replicas leave on servers: nothing.

use postgres::Client;
use xtask::cluster::DATABASE;
use xtask::server::Server;

use crate::{BOUND, Cluster, wait_until};

/// The name of the node that a schema is on; None for a plain one.
pub fn node_of(client: &mut Client, schema: &str) -> Option<String> {
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
    UNION ALL SELECT 'commit record ' || gid FROM helios.transaction \
    UNION ALL SELECT 'noted ' || kind || ' ' || name FROM helios.cleanup \
    UNION ALL SELECT 'replica ' || migration FROM helios.replica \
    UNION ALL SELECT 'table of migration ' || migration FROM helios.migration_table \
    UNION ALL SELECT 'identity of ' || oid::regclass FROM pg_class WHERE relreplident <> 'd' \
                AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace) \
                AND relkind IN ('r', 'p') AND relname !~ 'identity' \
    UNION ALL SELECT 'session ' || application_name || ': ' || query FROM pg_stat_activity \
               WHERE application_name LIKE 'helios migration%'";

/// Nothing of any migration is left on any server, and each schema is on its own node alone.
#[track_caller]
pub fn assert_clean(cluster: &Cluster, schemas: &[&str]) {
    let nodes: Vec<&Server> = cluster.nodes().iter().collect();
    assert_clean_on(cluster, &nodes, schemas);
}

/// The same, with these servers as node 1, 2, ….
#[track_caller]
pub fn assert_clean_on(cluster: &Cluster, nodes: &[&Server], schemas: &[&str]) {
    let mut coordinator = cluster.connect();
    wait_until("nothing of a migration is left", BOUND, || {
        let mut seen = Vec::new();
        for server in nodes.iter().copied().chain([cluster.coordinator()]) {
            let mut client = server.connect(DATABASE).map_err(|error| format!("{error:#}"))?;
            let left = client.query(TRACES, &[]).unwrap();
            let name = &server.name;
            seen.extend(left.iter().map(|row| format!("{name}: {}", row.get::<_, String>(0))));
        }
        if seen.is_empty() { Ok(()) } else { Err(format!("{seen:#?}")) }
    });
    for schema in schemas {
        let home = node_of(&mut coordinator, schema);
        for (number, server) in (1..).zip(nodes) {
            let there = "SELECT FROM pg_namespace WHERE nspname = $1";
            let mut client = server.connect(DATABASE).unwrap();
            let there = !client.query(there, &[schema]).unwrap().is_empty();
            let name = format!("node-{number}");
            assert_eq!(there, home.as_ref() == Some(&name), "schema {schema} on {name}");
        }
    }
    let moving = "SELECT count(*) FROM helios.shard WHERE state <> 'active'";
    assert_eq!(coordinator.query_one(moving, &[]).unwrap().get::<_, i64>(0), 0);
}
