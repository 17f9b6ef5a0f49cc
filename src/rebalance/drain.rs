//! Draining of nodes.

use super::place_empty_shards;
use super::plan::{execute, prepare};
use crate::catalog::{self, Node};
use crate::error::{Error, Result};
use crate::replica;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::rc::Rc;

/// Marks the node as draining: it accepts no schemas, and all that it has is moved away. Empty shards move at once;
/// returns the migrations of the first wave, and the worker starts the next ones.
///
/// Errors: 42704 unknown node, 55000 for the coordinator itself and for the last node that accepts schemas.
pub fn drain(name: &str) -> Result<Vec<i64>> {
    catalog::lock_cluster();
    let node = catalog::node_named(name)?;
    node.check_ours()?;
    let refused = |detail: String, hint: &str| {
        let message = format!("cannot drain node \"{name}\"");
        Error::new(Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .detail(detail)
            .hint(hint)
    };
    if node.is_local {
        let hint = "To move schemas away from it, use helios_migrate() or helios_migrate_schema().";
        return Err(refused("The coordinator cannot be drained.".into(), hint));
    }
    let takes = |other: &&Rc<Node>| {
        other.id != node.id && other.takes_schemas && other.state == "online" && !other.is_foreign
    };
    if catalog::nodes()?.iter().filter(takes).count() == 0 {
        let hint = "Add a node with helios_add_node first.";
        return Err(refused("No other node accepts new schemas.".into(), hint));
    }
    replica::refuse_node(node.id, format!("cannot drain node \"{name}\""))?;
    catalog::set_node_state(node.id, "draining", false)?;
    house()?;
    Ok(execute(&prepare()?.plan))
}

/// Ends draining. Shards that have left the node return only when rebalancing moves them.
///
/// Errors: 42704 unknown node, 55000 if it is not draining.
pub fn undrain(name: &str) -> Result<()> {
    catalog::lock_cluster();
    let node = catalog::node_named(name)?;
    if node.state != "draining" {
        return Err(Error::new(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("node \"{name}\" is not draining"),
        )
        .detail(format!("The state of the node is \"{}\".", node.state))
        .hint("The view helios_nodes shows the state of each node."));
    }
    catalog::set_node_state(node.id, "online", true)?;
    house()
}

fn house() -> Result<()> {
    let nodes: Vec<Rc<Node>> = catalog::nodes()?.iter().cloned().collect();
    place_empty_shards(&nodes)
}
