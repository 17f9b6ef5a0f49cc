//! Current and hypothetical placement of schemas.

use crate::catalog::{self, placement_strategy};
use crate::pg::error::OrRaise;
use pgrx::prelude::*;

/// Name of a distributed schema's node; NULL for any other schema.
#[pg_extern(sql = false)]
fn helios_node_for_schema(schema: &str) -> Option<String> {
    let node = || match catalog::any_placement_of(schema)? {
        Some(placement) => Ok(Some(catalog::node(placement.node)?.name.clone())),
        None => Ok(None),
    };
    node().or_raise()
}

/// Name of the node on which a schema of this name would be placed.
#[pg_extern(sql = false)]
fn helios_node_for_key(key: &str) -> String {
    let node =
        || Ok(catalog::node(placement_strategy::target(key, None, None)?.node())?.name.clone());
    node().or_raise()
}

/// Hash slot of a key.
#[pg_extern(sql = false)]
fn helios_key_slot(key: &str) -> i32 {
    i32::from(helios_core::slot::slot_of(key))
}
