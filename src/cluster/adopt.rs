//! Adoption of the nodes listed in a directory that was restored from a dump.

use crate::catalog::{self, Node};
use crate::cluster::ownership;
use crate::ddl::reference_table;
use crate::error::{Error, Result};
use crate::transaction::{self, Mode};
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Registers all nodes of the directory with this cluster and returns their number. Every node must be reachable.
pub fn adopt() -> Result<i32> {
    catalog::lock_cluster();
    catalog::adopt_nodes()?;
    let nodes = catalog::remote_nodes()?;
    for node in &nodes {
        ownership::succeed(node)?;
        ownership::stake(node)?;
        warn_of_prepared(node)?;
        warn_of_other_rows(node)?;
    }
    Ok(nodes.len() as i32)
}

/// Warns of transactions that the old coordinator left prepared. Only a person can decide their outcome, because commit
/// records are not dumped.
fn warn_of_prepared(node: &Node) -> Result<()> {
    let select = "SELECT gid FROM pg_catalog.pg_prepared_xacts
                   WHERE database OPERATOR(pg_catalog.=) pg_catalog.current_database()
                     AND pg_catalog.starts_with(gid, 'helios_') ORDER BY prepared";
    let ours = format!("helios_{}_", catalog::cluster_id()?);
    let rows = transaction::query(node.id, select.as_bytes(), Mode::Transaction)?;
    let left: Vec<String> =
        rows.into_iter().flatten().flatten().filter(|gid| !gid.starts_with(&ours)).collect();
    if !left.is_empty() {
        let message =
            format!("node \"{}\" has prepared transactions of its previous cluster", node.name);
        let warning = Error::new(Code::ERRCODE_WARNING, message)
            .detail(format!(
                "The directory does not record whether they were committed: {}.",
                left.join(", ")
            ))
            .hint("Run COMMIT PREPARED or ROLLBACK PREPARED for each of them on the node.");
        crate::pg::error::notify(PgLogLevel::WARNING, &warning);
    }
    Ok(())
}

/// Warns of reference tables whose local rows, restored from the dump, differ from the current ones on the node.
fn warn_of_other_rows(node: &Node) -> Result<()> {
    for table in catalog::references()? {
        let here = reference_table::digest(&table)?;
        let text = reference_table::digest_there(&table);
        let rows = transaction::query(node.id, text.as_bytes(), Mode::Transaction)?;
        if rows.into_iter().flatten().flatten().next().as_ref() == Some(&here) {
            continue;
        }
        let message = format!(
            "rows of reference table {} differ from those on node \"{}\"",
            table.name, node.name
        );
        let warning = Error::new(Code::ERRCODE_WARNING, message)
            .detail("The local rows were restored from a dump. Updating or deleting a row that differs on the node \
                will fail.")
            .hint("Run helios_undistribute_table(), bring the local rows up to date, and run \
                helios_create_reference_table() again. Use helios_check_cluster() to compare the copies.");
        crate::pg::error::notify(PgLogLevel::WARNING, &warning);
    }
    Ok(())
}
