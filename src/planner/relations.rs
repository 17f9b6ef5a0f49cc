//! Locations of a query's relations and other named objects.

use crate::catalog::{self, NodeId};
use crate::error::Result;
use crate::pg::catalog::names;
use crate::pg::catalog::object::{self, Belongs, FIRST_USER_OID, Object};
use pgrx::pg_sys::Oid;

/// Placement of a query that runs on a node.
pub(super) struct OnNode {
    pub node: i32,
    /// The namespaces of the objects that it touches there.
    pub namespaces: Vec<Oid>,
    /// It names a view in a plain schema, which does not exist on the node.
    pub local_view: bool,
    /// It names a built-in relation.
    pub catalogs: bool,
}

/// Whether relations of this `relkind` have rows, directly or through others.
pub fn holds_rows(kind: u8) -> bool {
    matches!(kind, b'r' | b'p' | b'm' | b'f' | b't')
}

/// Whether the relation is a shell.
pub fn is_remote(relation: Oid) -> Result<bool> {
    if relation.to_u32() < FIRST_USER_OID {
        return Ok(false);
    }
    match names::relation_namespace(relation) {
        Some(namespace) => Ok(catalog::placement(namespace)?.is_some()),
        None => Ok(false),
    }
}

/// Whether the relation's rows are on a node, and not here.
pub fn is_elsewhere(relation: Oid) -> Result<bool> {
    Ok(catalog::in_use() && is_remote(relation)?)
}

/// Whether the relation is local now, but may have moved when the statement runs.
pub fn may_move(relation: Oid) -> Result<bool> {
    match names::relation_namespace(relation) {
        Some(namespace) => Ok(catalog::any_placement(namespace)?.is_some()),
        None => Ok(false),
    }
}

/// A type or collation named in the statement that does not exist on the node of these schemas, because it is in
/// another node's schema or temporary.
pub fn named_elsewhere(named: &[Object], namespaces: &[Oid]) -> Result<Option<Object>> {
    let node = match namespaces.first() {
        Some(&namespace) => catalog::placement(namespace)?.map(|place| place.node),
        None => None,
    };
    for &object in named {
        if is_missing(object, node)? {
            return Ok(Some(object));
        }
    }
    Ok(None)
}

/// Whether a type or collation does not exist on a node, because it is in another node's schema or temporary.
pub fn is_missing(object: Object, node: Option<NodeId>) -> Result<bool> {
    Ok(match object::belongs(object) {
        Some(Belongs::Schema(namespace) | Belongs::Relation { namespace, .. }) => {
            catalog::any_placement(namespace)?.is_some_and(|placement| Some(placement.node) != node)
        }
        Some(Belongs::Server) => true,
        _ => false,
    })
}
