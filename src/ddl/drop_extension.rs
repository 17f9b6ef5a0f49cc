//! Removal of the cluster: DROP EXTENSION helios, and other commands that would drop the extension.
//!
//! Invariant: nothing is done or reported before the user's permission has been checked; and nodes are released when
//! the command's transaction commits, not before.

use crate::catalog;
use crate::cluster::ownership;
use crate::error::{Error, Result};
use crate::pg::catalog::privileges;
use crate::transaction;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// DROP EXTENSION helios. Without permission, the user gets PostgreSQL's error and nothing else.
pub(super) fn before() -> Result<()> {
    if !privileges::owns_extension("helios") {
        return Ok(());
    }
    refuse_to_lose_schemas()?;
    if transaction::has_written() {
        return Err(Error::new(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "cannot drop extension helios in a transaction that has written on nodes",
        )
        .detail(
            "Its writes on nodes cannot be committed atomically with the removal of the cluster.",
        )
        .hint("Commit the transaction first, then run DROP EXTENSION helios."));
    }
    for node in catalog::remote_nodes()? {
        ownership::release(&node)?;
    }
    Ok(())
}

/// DROP OWNED does not perform the checks of DROP EXTENSION.
pub(super) fn refuse_to_drop_us(roles: &[pgrx::pg_sys::Oid]) -> Result<()> {
    let Some(owner) = privileges::owner_of_extension("helios") else { return Ok(()) };
    if !roles.contains(&owner) || !privileges::has_rights_of(owner) {
        return Ok(());
    }
    let owner = privileges::role_name(owner);
    Err(Error::new(
        Code::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
        format!(
            "cannot drop objects owned by role \"{owner}\" because extension helios is one of them"
        ),
    )
    .detail("DROP OWNED would not release the nodes of the cluster.")
    .hint("Run DROP EXTENSION helios first, or REASSIGN OWNED to another superuser."))
}

fn refuse_to_lose_schemas() -> Result<()> {
    for node in catalog::remote_nodes()? {
        let schemas = catalog::schemas_on(node.id)?;
        if !schemas.is_empty() {
            return Err(Error::new(
                Code::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
                "cannot drop extension helios because nodes hold distributed schemas",
            )
            .detail(format!("Node \"{}\" holds: {}.", node.name, schemas.join(", ")))
            .hint(
                "First drop these schemas, or undistribute them with helios_undistribute_schema().",
            ));
        }
    }
    Ok(())
}
