//! On a node: a function called by a coordinator's statement must not execute DDL, because the coordinator would not be
//! aware of it, and its shells would differ from the tables here.

use super::object_location;
use super::statement_scope::{self, StatementScope};
use crate::catalog::proof;
use crate::error::{Error, Result};
use crate::pg::hooks::object_access::Event;
use crate::pg::tree::statement::Statement;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Whether the command comes from a function called by a coordinator's statement. The actions of an event trigger
/// belong to the coordinator's own DDL command.
pub(super) fn concerns(statement: &Statement) -> bool {
    !statement.is_top_level()
        && !statement_scope::is_inside()
        && statement.relation_targets().is_none()
        && proof::is_coordinators()
}

/// Raises an error if the command touched anything but temporary objects.
pub(super) fn after(scope: &StatementScope) -> Result<()> {
    for touched in &scope.touched {
        let lives = match touched.event {
            Event::Dropped => touched.location.is_some(),
            Event::Created | Event::Altered => object_location::of(touched.object)?.is_some(),
        };
        if lives {
            return Err(Error::new(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                "cannot execute DDL in a function that runs on a node",
            )
            .detail("The coordinator would not be aware of the change.")
            .hint("Use DO, or a function or procedure in a plain schema; these run on the coordinator."));
        }
    }
    Ok(())
}
