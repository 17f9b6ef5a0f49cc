//! Large objects are stored on this server only, so code that runs on a node must not access them.

use crate::error::{Error, Result};
use crate::pg::tree::statement::Statement;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// 0A000 if the command creates a trigger of extension `lo` on a tenant's table.
pub(super) fn check(statement: &Statement) -> Result<()> {
    match statement.trigger_function() {
        Some(function) if function == "lo_manage" => Err(Error::new(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            "cannot use lo_manage() on a table of a distributed schema",
        )
        .detail("Large objects are stored on the coordinator, but the trigger runs on the table's node.")
        .hint("Call lo_unlink() in a separate statement of the transaction that changes the row.")),
        _ => Ok(()),
    }
}
