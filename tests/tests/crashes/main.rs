//! Distributed transactions with a failure in the middle of a step: at every failpoint of
//! commit, recovery and DDL, a process, a server or a connection is lost. Afterwards each
//! transaction has been committed on all its servers or on none, and nothing is left behind.
//!
//! The servers use a library built with the cargo feature `failpoints`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails by panicking"
)]

mod bank;
mod locks;
mod matrix;
mod outcome;
mod recovery;
mod steps;

use std::time::Duration;

use helios_tests::{Cluster, wait_until};
use postgres::Client;

/// Maximum time that recovery may take.
const RECOVERED: Duration = Duration::from_secs(15);

/// Creates schemas `one` and `two` on the nodes of these numbers and `here` on the coordinator, each with a
/// table `t (id int primary key, x int)` of rows 1 to 10, all 0.
fn tables(cluster: &Cluster) -> Client {
    let mut client = cluster.connect();
    for (schema, place) in [
        ("one", "DISTRIBUTED ON NODE \"node-1\""),
        ("two", "DISTRIBUTED ON NODE \"node-2\""),
        ("here", ""),
    ] {
        client
            .batch_execute(&format!(
                "CREATE SCHEMA {schema} {place}; \
                 CREATE TABLE {schema}.t (id int PRIMARY KEY, x int NOT NULL DEFAULT 0); \
                 INSERT INTO {schema}.t SELECT generate_series(1, 10)"
            ))
            .unwrap();
    }
    client
}

/// Adds one to row 1 of each of these tables in one transaction.
fn add_to(schemas: &[&str]) -> String {
    let updates = schemas.iter().map(|s| format!("UPDATE {s}.t SET x = x + 1 WHERE id = 1;"));
    format!("BEGIN; {} COMMIT", updates.collect::<String>())
}

/// Row 1 of each table.
fn values(client: &mut Client) -> [i32; 3] {
    ["one", "two", "here"].map(|schema| {
        client.query_one(&format!("SELECT x FROM {schema}.t WHERE id = 1"), &[]).unwrap().get(0)
    })
}

/// Prepared transactions on the nodes.
fn prepared(cluster: &Cluster) -> Vec<String> {
    (1..=cluster.nodes().len())
        .flat_map(|number| {
            let query = "SELECT gid FROM pg_prepared_xacts";
            let rows = cluster.connect_to_node(number).query(query, &[]).unwrap();
            rows.into_iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>()
        })
        .collect()
}

/// Waits until nothing is prepared anywhere and no commit record is left.
fn settled(cluster: &Cluster) {
    wait_until("nothing is prepared and no record is left", RECOVERED, || {
        let left = prepared(cluster);
        let mut client =
            cluster.coordinator().connect("helios").map_err(|error| format!("{error:#}"))?;
        let query = "SELECT count(*) FROM helios.transaction";
        let records: i64 = client.query_one(query, &[]).map_err(|error| error.to_string())?.get(0);
        if left.is_empty() && records == 0 {
            Ok(())
        } else {
            Err(format!("{left:?}, {records} records"))
        }
    });
}
