//! Rows of `helios.transaction`: the commit records of distributed transactions. They are inserted directly into the
//! table, because at pre-commit a planned statement would cost more than the prepared transactions themselves.

use super::store::as_owner;
use super::tables::TransactionRow;
use super::{Node, NodeId};
use crate::error::{Error, Result};
use crate::pg::catalog::table::{Column, Table};
use crate::pg::catalog::value::Timestamp;
use crate::pg::session::sql;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// A transaction that is committed here and may still be prepared on a node.
pub struct CommitRecord {
    /// Its name as a prepared transaction.
    pub gid: String,
    /// When the record was written, in seconds since 1970.
    pub since: f64,
}

fn table() -> Result<Table<TransactionRow>> {
    Table::find().ok_or_else(|| {
        Error::new(Code::ERRCODE_UNDEFINED_TABLE, "table helios.transaction does not exist")
    })
}

/// The commit records for a node, independent of this transaction's snapshot.
pub fn records(node: &Node) -> Result<Vec<CommitRecord>> {
    let of_node = table()?.all()?.into_iter().filter(|row| row.node == node.id.0);
    Ok(of_node.map(|row| CommitRecord { gid: row.gid, since: row.created.unix() }).collect())
}

/// Adds a commit record for each (gid, node) to the current transaction.
pub fn insert(records: &[(String, i32)]) -> Result<()> {
    const GID: Column<TransactionRow, String> = Column::named("gid");
    const NODE: Column<TransactionRow, i32> = Column::named("node");
    const CREATED: Column<TransactionRow, Timestamp> = Column::named("created");
    let table = table()?;
    records.iter().try_for_each(|(gid, node)| {
        table.insert(&[GID.set(gid.clone()), NODE.set(*node), CREATED.set(Timestamp::now())])
    })
}

/// Deletes the records of transactions that are no longer prepared on a node that is being removed.
pub fn forget(node: NodeId, finished: &[String]) -> Result<()> {
    as_owner(|| {
        let delete = "DELETE FROM helios.transaction WHERE node = $1 AND gid = ANY ($2)";
        sql::run(delete, &[node.0.into(), finished.to_vec().into()])
    })
}

/// Deletes the records of transactions that are no longer prepared on a node; returns whether all of them were deleted.
/// Records that another session is deleting are skipped: sessions visit the nodes in different orders, so if they waited
/// for each other, there could be a deadlock.
pub fn forget_unlocked(node: NodeId, finished: &[String]) -> Result<bool> {
    as_owner(|| {
        let delete = "WITH gone AS (DELETE FROM helios.transaction t USING (SELECT gid FROM helios.transaction
                          WHERE node = $1 AND gid = ANY ($2) FOR UPDATE SKIP LOCKED) free
                       WHERE t.node = $1 AND t.gid = free.gid RETURNING t.gid)
                      SELECT count(*) = cardinality($2) FROM gone";
        let all = sql::one::<bool>(delete, &[node.0.into(), finished.to_vec().into()])?;
        Ok(all == Some(true))
    })
}
