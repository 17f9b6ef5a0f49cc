//! Decides where a statement runs.
//!
//! Job: from the objects that a statement uses, decide whether it runs here, on one node, or not at all.
//! Invariant: a statement runs on a node only if that node has everything that the statement
//! uses; a statement whose objects are not in one place is refused, never answered wrongly.
//! Locks: none; the whole folder is pure.

mod refusal;

#[cfg(test)]
mod tests;

pub use refusal::Refusal;

use std::collections::{BTreeMap, BTreeSet};

/// An object that a statement touches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Touched {
    /// A table, view, sequence, function or type in a distributed schema on another node.
    Remote {
        /// The node's id.
        node: i32,
        /// The schema's name.
        schema: String,
        /// The schema's shard.
        shard: i64,
        /// Whether the statement changes it.
        write: bool,
    },
    /// A sequence in a distributed schema on another node that the statement advances or sets. This server can ask the node for
    /// each value.
    Advanced {
        /// The node's id.
        node: i32,
        /// The schema's name.
        schema: String,
        /// The schema's shard.
        shard: i64,
    },
    /// A table or view on this server, in a plain schema or in a distributed one on this server.
    LocalTable {
        /// Its name for messages.
        name: String,
        /// Whether the statement changes it.
        write: bool,
    },
    /// A reference table, which has the same rows on every server.
    Reference {
        /// Its name for messages.
        name: String,
        /// Whether the statement changes or locks its rows, which starts on this server.
        write: bool,
    },
    /// A temporary table of this session.
    TempTable {
        /// Its name.
        name: String,
    },
    /// The type of the rows of a view in a plain schema, which nodes do not have.
    RowsOfView {
        /// The view's name for messages.
        name: String,
    },
    /// A relation of which every server has its own: pg_catalog, information_schema.
    Catalog,
    /// A sequence on this server that the statement advances or reads.
    LocalSequence {
        /// Its name for messages.
        name: String,
    },
    /// `lastval()`: the result of the session's last `nextval`, wherever that ran.
    LastValue {
        /// The node of that `nextval`; None for this server, or if there was none.
        node: Option<i32>,
    },
}

/// A shard that a statement touches on its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardUse {
    /// The shard's id.
    pub shard: i64,
    /// Whether the statement changes anything in it.
    pub write: bool,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// On this server, as without Helios.
    Here,
    /// As a whole on one node.
    Node {
        /// The node's id.
        node: i32,
        /// The shards to be locked before the placement is read again, without duplicates, in ascending order.
        shards: Vec<ShardUse>,
    },
    /// On this server, over the rows that its parts fetch from nodes.
    Parts,
    /// Nowhere: the error to be raised.
    Refused(Refusal),
}

/// Decides where a statement runs that touches these things, in any order and any number of times.
/// `node_name` is asked only for the texts of a refusal.
///
/// - nothing of another node: here;
/// - things of one node, with nothing else but catalogs and reference tables that are read: on that node;
/// - things of several nodes, or of a node and of this server, of which rows of nodes are only read: in parts; this includes
///   reference tables that are changed or locked, which is done on this server;
/// - the same with rows of a node that are changed or locked, or with the `lastval()` of a node: refused.
pub fn route<'a>(
    touched: impl IntoIterator<Item = &'a Touched> + Clone,
    node_name: &dyn Fn(i32) -> String,
) -> Route {
    let mut nodes = BTreeSet::new();
    let mut shards: BTreeMap<i64, bool> = BTreeMap::new();
    let mut remote = BTreeSet::new();
    let mut local = BTreeSet::new();
    for thing in touched.clone() {
        match thing {
            Touched::Remote { node, shard, write, schema } => {
                nodes.insert(*node);
                *shards.entry(*shard).or_default() |= write;
                remote.insert((schema.as_str(), *node));
            }
            Touched::Advanced { node, shard, schema } => {
                nodes.insert(*node);
                shards.insert(*shard, true);
                remote.insert((schema.as_str(), *node));
            }
            Touched::LastValue { node: Some(node) } => {
                nodes.insert(*node);
            }
            Touched::Catalog | Touched::Reference { write: false, .. } => (),
            Touched::LocalTable { .. }
            | Touched::Reference { write: true, .. }
            | Touched::TempTable { .. }
            | Touched::RowsOfView { .. }
            | Touched::LocalSequence { .. }
            | Touched::LastValue { node: None } => {
                local.insert(thing);
            }
        }
    }
    let mut each = nodes.iter();
    match (each.next(), each.next()) {
        (None, _) => Route::Here,
        (Some(&node), None) if local.is_empty() => {
            let shards = shards.into_iter().map(|(shard, write)| ShardUse { shard, write });
            Route::Node { node, shards: shards.collect() }
        }
        _ if may_run_in_parts(touched) => Route::Parts,
        _ => Route::Refused(Refusal::new(&nodes, &remote, &local, node_name)),
    }
}

/// Whether this server can do everything that a statement does, apart from reading rows of nodes.
pub fn may_run_in_parts<'a>(touched: impl IntoIterator<Item = &'a Touched>) -> bool {
    touched.into_iter().all(|thing| match thing {
        Touched::Remote { write, .. } => !write,
        Touched::LastValue { node } => node.is_none(),
        // Its rows change here, and are then sent to the nodes.
        Touched::Reference { .. }
        | Touched::Advanced { .. }
        | Touched::LocalTable { .. }
        | Touched::TempTable { .. }
        | Touched::RowsOfView { .. }
        | Touched::Catalog
        | Touched::LocalSequence { .. } => true,
    })
}
