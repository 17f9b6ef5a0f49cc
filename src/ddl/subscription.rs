//! Subscriptions of migrations belong to roles as which tenants' code runs (see `replication::apply_role`), and
//! PostgreSQL lets owners alter what they own: the subscription's connection string and slot.

use crate::error::{Error, Result};
use crate::pg::catalog::privileges;
use crate::pg::tree::statement::Statement;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// 42501 for a subscription of Helios, unless the user is a superuser.
pub(super) fn check(statement: &Statement) -> Result<()> {
    match statement.changed_subscription() {
        Some(name) if name.starts_with("helios_") && !privileges::is_superuser() => {
            Err(Error::new(
                Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("permission denied for subscription {name}"),
            )
            .detail("Names that begin with \"helios_\" are reserved for migrations, whose subscriptions only \
                superusers can change.")
            .hint("Choose another name for the subscription."))
        }
        _ => Ok(()),
    }
}
