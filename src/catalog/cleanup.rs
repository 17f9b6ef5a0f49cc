//! Rows of `helios.cleanup`: objects that a migration may have created on a node and must remove.

use crate::catalog::NodeId;
use crate::error::Result;
use crate::pg::session::sql;

/// An object that may have to be removed from a node.
pub struct CleanupItem {
    pub node: NodeId,
    pub kind: String,
    pub name: String,
}

/// Records an object about to be created on a node.
pub fn add(id: i64, node: NodeId, kind: &str, name: &str) -> Result<()> {
    let insert = "INSERT INTO helios.cleanup (migration, node, kind, name) VALUES ($1, $2, $3, $4)
                  ON CONFLICT DO NOTHING";
    sql::run(insert, &[id.into(), node.0.into(), kind.into(), name.into()])
}

/// Deletes the record of an object that has been removed or shall remain.
pub fn remove(id: i64, node: NodeId, kind: &str, name: &str) -> Result<()> {
    let delete =
        "DELETE FROM helios.cleanup WHERE migration = $1 AND node = $2 AND kind = $3 AND name = $4";
    sql::run(delete, &[id.into(), node.0.into(), kind.into(), name.into()])
}

/// The statement to run manually if a node is permanently lost, so that its cleanup is given up.
pub fn forget_by_hand(id: i64, node: NodeId) -> String {
    format!("DELETE FROM helios.cleanup WHERE migration = {id} AND node = {}", node.0)
}

/// Objects that a migration may have left, in the order in which they can be removed.
pub fn of_migration(id: i64) -> Result<Vec<CleanupItem>> {
    let select = "SELECT node, kind, name FROM helios.cleanup WHERE migration = $1
                   ORDER BY array_position('{subscription,slot,publication,rows,former,schema,identity,trigger,aside,fence,marker,import}', kind), id";
    sql::rows(select, &[id.into()], |row| {
        Ok(CleanupItem {
            node: NodeId(row.value("node")?),
            kind: row.value("kind")?,
            name: row.value("name")?,
        })
    })
}
