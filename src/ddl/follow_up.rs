//! What remains to be done for a command after the server has run it on the shells.

use super::relocation_plan::Relocation;
use super::truncate_triggers;
use crate::catalog::{NodeId, placement_strategy};
use crate::pg::catalog::object::Object;
use crate::pg::tree::statement::Statement;
use std::collections::BTreeMap;

/// Follow-up of a command after the server has run it.
pub enum FollowUp {
    /// Forget the schemas that it dropped; nothing else.
    Bookkeeping,
    /// On a node, inside a function: reject it if it touched anything that shells must have, too.
    NestedDdl,
    /// On a node, from one of the node's own clients: reject it if it touched anything in a schema.
    OnNode,
    /// On each node, drop the objects of the list that it has.
    ObjectList(Vec<(NodeId, String)>),
    /// Lock the tables on their nodes.
    Lock,
    /// On each node, truncate the tables of the list that it has; enable triggers of shells again.
    TruncateReferences { parts: Vec<(NodeId, String)>, silenced: Vec<truncate_triggers::Trigger> },
    /// Send it to the nodes of the objects that it touched.
    Touched { models: Models },
    /// Move the object to another server.
    Relocate(Box<Relocation>),
    /// Send it to every node.
    Everywhere,
    /// Add the new schema to the directory, and create it on its node.
    CreateSchema(NewSchema),
    /// Create the plain schema on every node.
    PlainSchema { text: String },
    /// Update the directory, then the node or nodes.
    RenameSchema { old: String, new: String },
    /// Drop each schema on its node.
    DropSchemas { cascade: bool },
    /// Fill the table on the node.
    TableAs { node: NodeId },
    /// Create the table on the node, and insert the rows of this query, which needs other servers.
    TableFrom { node: NodeId, query: Option<String> },
    /// Import these snapshots on nodes that join the transaction.
    ImportSnapshot(BTreeMap<NodeId, String>),
    /// Finish the parts of the prepared transaction on their nodes.
    FinishPrepared { transaction: u32 },
}

/// The relations after which CREATE TABLE models its own.
#[derive(Default)]
pub struct Models {
    /// Those of INHERITS and PARTITION OF, on which the new table depends.
    pub parents: Vec<Object>,
    /// Those of LIKE, which are only read.
    pub liked: Vec<Object>,
}

impl Models {
    /// The models of a command; none if it is not CREATE TABLE.
    pub(super) fn of(statement: &Statement) -> Self {
        Self { parents: statement.parents(), liked: statement.liked() }
    }
}

/// A distributed schema being created.
pub struct NewSchema {
    /// Its name.
    pub name: String,
    /// The key by which it is placed.
    pub key: String,
    /// Its placement.
    pub target: placement_strategy::Target,
    /// The command for its node.
    pub text: Vec<u8>,
}
