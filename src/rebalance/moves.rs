//! Starts moves of shards and schemas, which the migration engine carries out.

use crate::catalog::{self, Node, NodeId, Shard, ShardId};
use crate::error::{Error, Result};
use crate::migration::{self, Subject};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Starts moving a shard; returns the migration's ID.
pub fn start_move(shard: ShardId, to: NodeId) -> Result<i64> {
    migration::start(&Subject::Shard(shard), to)
}

/// Starts moving all schemas on a node whose names are LIKE the pattern; returns the migrations. A shard whose schemas
/// all match is moved as one, and colocated schemas move together if one of them matches.
///
/// Errors: 3F000 if none matches, and those of each move.
pub fn migrate_matching(source: &Node, target: &Node, pattern: &str) -> Result<Vec<i64>> {
    let matching = catalog::schemas_like(source.id, pattern)?;
    if matching.is_empty() {
        return Err(Error::new(
            Code::ERRCODE_INVALID_SCHEMA_NAME,
            format!("no schema on node \"{}\" matches \"{pattern}\"", source.name),
        )
        .hint("The pattern has the syntax of LIKE, in which % matches any sequence of characters. The view \
            helios_schemas shows where each schema is."));
    }
    let here = |shard: &Shard| shard.node == source.id && shard.schemas > 0;
    let mut migrations = Vec::new();
    for shard in catalog::shards()?.into_iter().filter(here) {
        let names: Vec<&String> =
            matching.iter().filter(|(_, of)| *of == shard.id).map(|(name, _)| name).collect();
        let as_one = names.len() as u64 == shard.schemas || shard.rectangle().is_none();
        if names.is_empty() {
            continue;
        }
        if as_one {
            migrations.push(start_move(shard.id, target.id)?);
        } else {
            for name in names {
                migrations.push(migration::start(&Subject::Schema(name.clone()), target.id)?);
            }
        }
    }
    Ok(migrations)
}
