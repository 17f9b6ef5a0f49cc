//! Moving schemas and shards between nodes.

use super::given;
use crate::catalog::{self, ShardId};
use crate::error::Result;
use crate::migration::{self, Subject};
use crate::pg::error::OrRaise;
use helios_core::migration::Request;
use pgrx::prelude::*;
use std::time::Duration;

fn start(subject: Subject, node: Option<&str>) -> Result<i64> {
    let node = catalog::node_named(given(node, "node")?)?;
    migration::start(&subject, node.id)
}

/// Starts moving a schema; returns the migration's ID.
#[pg_extern(sql = false)]
fn helios_migrate_schema(schema: Option<&str>, node: Option<&str>) -> i64 {
    given(schema, "schema")
        .and_then(|schema| start(Subject::Schema(schema.to_owned()), node))
        .or_raise()
}

/// Starts moving a shard; returns the migration's ID.
#[pg_extern(sql = false)]
fn helios_migrate_shard(shard: Option<i64>, node: Option<&str>) -> i64 {
    given(shard, "shard").and_then(|shard| start(Subject::Shard(ShardId(shard)), node)).or_raise()
}

fn request(id: Option<i64>, request: Request) {
    given(id, "migration").and_then(|id| migration::submit(id, request)).or_raise();
}

/// Cancels a migration before its switch.
#[pg_extern(sql = false)]
fn helios_cancel_migration(id: Option<i64>) {
    request(id, Request::Cancel);
}

/// Rolls back a migration after its switch.
#[pg_extern(sql = false)]
fn helios_rollback_migration(id: Option<i64>) {
    request(id, Request::RollBack);
}

/// Ends a rollback window.
#[pg_extern(sql = false)]
fn helios_finish_migration(id: Option<i64>) {
    request(id, Request::Finish);
}

/// Waits for a migration; returns its state.
#[pg_extern(sql = false)]
fn helios_wait_for_migration(id: Option<i64>, timeout: Option<Interval>) -> String {
    let timeout = timeout.map(|timeout| {
        let microseconds = u64::try_from(timeout.as_micros()).unwrap_or(0);
        Duration::from_micros(microseconds)
    });
    let state = given(id, "migration").and_then(|id| migration::wait(id, timeout)).or_raise();
    state.name().to_owned()
}

/// Compares the two copies of a schema; one row per table.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "the row type of the SQL function")]
fn helios_verify_schema(
    schema: Option<&str>,
) -> TableIterator<
    'static,
    (
        name!(table, String),
        name!(source_rows, i64),
        name!(target_rows, i64),
        name!(mismatches, i64),
    ),
> {
    let found = given(schema, "schema").and_then(migration::verify_schema).or_raise();
    TableIterator::new(
        found
            .into_iter()
            .map(|table| (table.name, table.source_rows, table.target_rows, table.mismatches)),
    )
}
