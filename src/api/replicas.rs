//! Replicas: their number, promotion, and progress.

use super::given;
use crate::catalog::{self, ShardId};
use crate::error::Result;
use crate::migration::Subject;
use crate::pg::error::OrRaise;
use crate::replica;
use crate::shared::replica_states;
use crate::transaction;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;
use std::time::Duration;

fn set(subject: Result<Subject>, copies: Option<i32>) -> SetOfIterator<'static, i64> {
    let set = || {
        let _path = transaction::SafePath::begin();
        replica::set_replicas(&subject?, given(copies, "copies")?)
    };
    SetOfIterator::new(set().or_raise())
}

fn schema_named(schema: Option<String>) -> Result<Subject> {
    given(schema, "schema").map(Subject::Schema)
}

fn shard_numbered(shard: Option<i64>) -> Result<Subject> {
    given(shard, "shard").map(|shard| Subject::Shard(ShardId(shard)))
}

/// Sets the number of copies of a schema; returns the migrations that create missing ones.
#[pg_extern(sql = false)]
fn helios_set_schema_replicas(
    schema: Option<String>,
    copies: Option<i32>,
) -> SetOfIterator<'static, i64> {
    set(schema_named(schema), copies)
}

/// Sets the number of copies of a shard.
#[pg_extern(sql = false)]
fn helios_set_shard_replicas(
    shard: Option<i64>,
    copies: Option<i32>,
) -> SetOfIterator<'static, i64> {
    set(shard_numbered(shard), copies)
}

type Promoted = TableIterator<
    'static,
    (
        name!(primary, String),
        name!(primary_lost, bool),
        name!(complete_until, Option<TimestampWithTimeZone>),
        name!(bytes_behind, Option<i64>),
    ),
>;

fn promote(subject: Result<Subject>, node: Option<String>) -> Promoted {
    let promote = || {
        let _path = transaction::SafePath::begin();
        let node = node.as_deref().map(catalog::node_named).transpose()?;
        replica::promote(&subject?, node.as_ref())
    };
    let done = promote().or_raise();
    let noted = done.noted;
    TableIterator::once((
        done.node,
        noted.primary_lost,
        noted.complete_until.and_then(moment),
        noted.bytes_behind,
    ))
}

/// Converts microseconds since 2000, the server's unit of time.
fn moment(microseconds: i64) -> Option<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(microseconds).ok()
}

/// Promotes a replica of a schema.
#[pg_extern(sql = false)]
fn helios_promote_schema_replica(schema: Option<String>, node: Option<String>) -> Promoted {
    promote(schema_named(schema), node)
}

/// Promotes a replica of a shard.
#[pg_extern(sql = false)]
fn helios_promote_shard_replica(shard: Option<i64>, node: Option<String>) -> Promoted {
    promote(shard_numbered(shard), node)
}

type States = TableIterator<
    'static,
    (
        name!(migration, i64),
        name!(degraded, bool),
        name!(complete_until, Option<TimestampWithTimeZone>),
        name!(seen, Option<TimestampWithTimeZone>),
        name!(bytes, i64),
    ),
>;

/// The last known state of each replica in sync.
#[pg_extern(sql = false)]
fn helios_replica_states() -> States {
    let known = |time: i64| Some(time).filter(|&time| time != 0).and_then(moment);
    TableIterator::new(replica_states::all().into_iter().map(move |state| {
        let (until, seen) = (known(state.complete_until), known(state.seen));
        (state.migration, state.degraded != 0, until, seen, state.bytes)
    }))
}

/// On a node: waits until replicas have applied this session's last commit, for at most this many milliseconds; returns the
/// slots of those that have not.
#[pg_extern(sql = false)]
fn helios_wait_for_replicas(slots: Array<'_, String>, timeout: i32) -> Vec<String> {
    let timeout = Duration::from_millis(u64::try_from(timeout).unwrap_or(0));
    let wait = || replica::wait_for_replicas(super::elements(Some(slots), "slots")?, timeout);
    wait().or_raise()
}

/// Advances the sequences of schemas past the values in their columns, plus a margin; returns their number.
#[pg_extern(sql = false)]
fn helios_advance_sequences(schemas: Vec<Option<String>>, margin: i64) -> i64 {
    let advance = || -> Result<i64> {
        let _path = transaction::SafePath::begin();
        let schemas: Vec<String> = schemas.into_iter().flatten().collect();
        replica::advance_sequences(&schemas, margin)
    };
    advance().or_raise()
}
