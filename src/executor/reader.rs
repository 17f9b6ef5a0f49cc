//! For whom a statement on a node runs.
//!
//! PostgreSQL checks privileges and chooses row security policies once, before a statement's first row, and whoever fetches from
//! its cursor gets the rows that this role may see. A node does both when the statement arrives there, so that has to happen for
//! the role that opened the cursor; which is another one when a SECURITY DEFINER function fetches from a cursor of its caller's,
//! or its caller from one of the function's.

use crate::error::{Error, Result};
use crate::pg::catalog::privileges::role_name;
use crate::pg::exec::nesting;
use crate::pg::exec::remote_plan::PlanView;
use crate::pg::session::{self, xact};
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode};

/// The role as which a session with a node logs in, and the one as which it runs.
pub(super) struct Reader {
    login: Oid,
    role: Oid,
    /// Whether it was within another statement.
    enclosed: bool,
}

impl Reader {
    /// Those of the code that is running.
    pub fn current() -> Self {
        let (login, role) = xact::users();
        Self { login, role, enclosed: nesting::is_enclosed() }
    }

    /// Whether the statement may belong to a function.
    pub fn is_enclosed(&self) -> bool {
        self.enclosed
    }

    /// Whether the statement may be sent to its node now.
    ///
    /// Errors: 0A000 if other roles are in effect.
    pub fn check_begin(&self, plan: &PlanView<'_>) -> Result<()> {
        let now = Self::current();
        if (now.login, now.role) == (self.login, self.role) {
            Ok(())
        } else {
            self.refuse(plan, &now)
        }
    }

    /// Whether more rows may be fetched now: a session with the node can change its role, but not its login.
    ///
    /// Errors: 0A000 if it would have to.
    pub fn check_next(&self, plan: &PlanView<'_>) -> Result<()> {
        let now = Self::current();
        if now.login == self.login { Ok(()) } else { self.refuse(plan, &now) }
    }

    fn refuse(&self, plan: &PlanView<'_>, now: &Self) -> Result<()> {
        let schema = plan.namespaces().next().and_then(session::namespace_name).unwrap_or_default();
        let (opened, fetched) = (role_name(self.role), role_name(now.role));
        let detail = if self.role == now.role {
            format!(
                "The cursor was opened as role \"{opened}\" on the other side of a SECURITY DEFINER function."
            )
        } else {
            format!(
                "The cursor was opened as role \"{opened}\", and the current role is \"{fetched}\"."
            )
        };
        Err(Error::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("cannot fetch rows of schema \"{schema}\" from a cursor that was opened with other privileges"),
        )
        .detail(detail)
        .hint(format!(
            "Fetch from the cursor as role \"{opened}\"; a SECURITY DEFINER function can return rows (RETURNS TABLE, RETURN QUERY) instead of a cursor."
        )))
    }
}
