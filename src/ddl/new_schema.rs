//! Placement of a schema that becomes distributed, and its row in the catalog.

use crate::catalog::{self, placement_strategy};
use crate::error::Result;
use crate::settings::PlacementStrategy;
use helios_core::slot;
use pgrx::spi::quote_identifier;

/// How a new schema is to be placed.
#[derive(Clone, Default)]
pub struct PlacementRequest {
    /// Place it on this node.
    pub node: Option<String>,
    /// Use this strategy instead of the cluster's default.
    pub strategy: Option<PlacementStrategy>,
    /// Use this key instead of its name.
    pub key: Option<String>,
}

/// Determines the placement and locks it until the transaction ends.
pub(super) fn locked_target(
    schema: &str,
    request: &PlacementRequest,
) -> Result<placement_strategy::Target> {
    let key = request.key.as_deref().unwrap_or(schema);
    let find = || placement_strategy::target(key, request.node.as_deref(), request.strategy);
    let mut target = find()?;
    while let placement_strategy::Target::Pooled(shard, _) = target {
        catalog::lock_shard_shared(shard);
        let again = find()?;
        if again == target {
            break;
        }
        target = again;
    }
    Ok(target)
}

/// Inserts the schema into the catalog, on the target's shard.
pub(super) fn register(schema: &str, key: &str, target: placement_strategy::Target) -> Result<()> {
    let shard = match target {
        placement_strategy::Target::Pooled(shard, _) => shard,
        placement_strategy::Target::Dedicated(node) => catalog::dedicated_shard(schema, node)?,
    };
    catalog::insert_schema(schema, slot::key_of(key), shard)
}

/// The command that creates a plain schema on a node.
pub(super) fn plain_schema(name: &str, owner: &str) -> String {
    let (name, owner) = (quote_identifier(name), quote_identifier(owner));
    format!("CREATE SCHEMA IF NOT EXISTS {name} AUTHORIZATION {owner}")
}
