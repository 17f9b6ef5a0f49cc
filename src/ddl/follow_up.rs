//! What is left to do for a statement once the server has run it on the shells.

use super::truncate_triggers;
use crate::catalog::{NodeId, placement_strategy};
use crate::pg::catalog::object::Object;
use std::collections::BTreeMap;

/// What is to be done after the server ran the statement.
pub enum FollowUp {
    /// Forget the schemas that it dropped; nothing else.
    Bookkeeping,
    /// On a node, inside a function: refuse it if it touched what shells must have too.
    NestedDdl,
    /// On a node, from one of its own clients: refuse it if it touched anything of a schema.
    OnNode,
    /// Drop on each node what it has of the list.
    DropList(Vec<(NodeId, String)>),
    /// Lock the tables on their nodes.
    Lock,
    /// Truncate on each node what it has of the list; triggers of shells are on again.
    TruncateReferences { parts: Vec<(NodeId, String)>, silenced: Vec<truncate_triggers::Trigger> },
    /// Send it to the nodes of what it touched; `models` are the tables that a new one is like.
    Touched { models: Vec<Object> },
    /// Send it to every node.
    Everywhere,
    /// Write the new schema into the directory, and make it on its node.
    CreateSchema(NewSchema),
    /// Make the plain schema on every node.
    PlainSchema { text: String },
    /// The directory follows, then the node or nodes.
    RenameSchema { old: String, new: String },
    /// Drop each schema where it is.
    DropSchemas { cascade: bool },
    /// The node makes the rows.
    TableAs { node: NodeId },
    /// Nodes that join the transaction import these snapshots.
    ImportSnapshot(BTreeMap<NodeId, String>),
    /// The parts of the local transaction that was prepared, and is ended now, are ended on their nodes.
    FinishPrepared { transaction: u32 },
}

/// A distributed schema that is being made.
pub struct NewSchema {
    /// Its name.
    pub name: String,
    /// What places it.
    pub key: String,
    /// Where it goes.
    pub target: placement_strategy::Target,
    /// The statement for its node.
    pub text: Vec<u8>,
}
