//! Placement of new schemas.

use super::cluster::{node, node_named, nodes};
use super::rows::{Node, NodeId, Shard, ShardId};
use super::shards::shards;
use super::store::schemas_on;
use crate::error::{Error, Result};
use crate::settings::{PLACEMENT_STRATEGY, PlacementStrategy};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::rc::Rc;

/// The placement chosen for a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// In the pooled shard that covers its key.
    Pooled(ShardId, NodeId),
    /// In a dedicated shard to be created on this node.
    Dedicated(NodeId),
}

impl Target {
    /// The node.
    pub fn node(self) -> NodeId {
        match self {
            Target::Pooled(_, node) | Target::Dedicated(node) => node,
        }
    }
}

/// 42939 for names that distributed schemas cannot have: those of the server, of the extension, and `public`, which is
/// the same everywhere.
pub fn check_name(schema: &str) -> Result<()> {
    let is_reserved = matches!(schema, "helios" | "public" | "information_schema");
    if !is_reserved && !schema.starts_with("pg_") {
        return Ok(());
    }
    Err(Error::new(
        Code::ERRCODE_RESERVED_NAME,
        format!("schema \"{schema}\" cannot be a distributed schema"),
    )
    .hint("Create a schema for each tenant."))
}

/// Places a schema by its key: on the specified node, otherwise by the strategy, which defaults to
/// `helios.placement_strategy`.
pub fn target(
    key: &str,
    on_node: Option<&str>,
    strategy: Option<PlacementStrategy>,
) -> Result<Target> {
    if let Some(name) = on_node {
        let node = node_named(name)?;
        node.check_ours()?;
        if node.state == "draining" {
            return Err(Error::new(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("node \"{name}\" is draining"),
            )
            .hint("Choose another node."));
        }
        return Ok(Target::Dedicated(node.id));
    }
    match strategy.unwrap_or_else(|| PLACEMENT_STRATEGY.get()) {
        PlacementStrategy::LeastLoaded => Ok(Target::Dedicated(least_loaded()?.id)),
        _ => {
            let target = pooled(key)?;
            node(target.node())?.check_ours()?;
            Ok(target)
        }
    }
}

fn pooled(name: &str) -> Result<Target> {
    let key = helios_core::slot::key_of(name);
    let slot = helios_core::slot::slot_of(name);
    let holds = |shard: &Shard| shard.rectangle().is_some_and(|r| r.contains(slot, key));
    // The set of schemas that move with a shard is fixed when the move starts.
    let target = |shard: Shard| match shard.is_moving {
        true => Target::Dedicated(shard.node),
        false => Target::Pooled(shard.id, shard.node),
    };
    shards()?.into_iter().find(holds).map(target).ok_or_else(|| {
        Error::new(
            Code::ERRCODE_DATA_CORRUPTED,
            format!("no shard covers slot {slot} with key \"{key}\""),
        )
    })
}

fn least_loaded() -> Result<Rc<Node>> {
    let mut least: Option<(f64, Rc<Node>)> = None;
    let is_eligible =
        |node: &&Rc<Node>| node.takes_schemas && node.state == "online" && !node.is_foreign;
    for node in nodes()?.iter().filter(is_eligible) {
        let load = (schemas_on(node.id)?.len() + 1) as f64 / node.weight;
        if least.as_ref().is_none_or(|(best, _)| load < *best) {
            least = Some((load, node.clone()));
        }
    }
    least.map(|(_, node)| node).ok_or_else(|| {
        Error::new(Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "no node accepts new schemas")
            .hint("Add a node with helios_add_node(), or set takes_schemas in helios.node.")
    })
}
