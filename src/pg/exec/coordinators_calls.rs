//! Calls of functions that serve a coordinator in its sessions with a node. They are executable by everybody, because such a
//! session has the client's role, and refuse everybody else's calls.

use crate::error::{Error, Result};
use crate::pg::exec::nesting;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Tells a coordinator's sessions from those of other clients.
pub trait CoordinatorHooks {
    /// Whether this session comes from the server's coordinator.
    fn is_coordinators() -> bool;
}

/// Admits a call in a coordinator's session, also from code that runs there.
///
/// Errors: 42501 in any other session.
pub(super) fn admit<H: CoordinatorHooks>(function: &str) -> Result<()> {
    match H::is_coordinators() {
        true => Ok(()),
        false => Err(refusal(function)),
    }
}

/// Admits a call by a statement that the session's client sends, in a coordinator's session.
///
/// Errors: 42501 in any other session, and for code that runs in this one.
pub(super) fn admit_own<H: CoordinatorHooks>(function: &str) -> Result<()> {
    match nesting::is_nested() {
        true => Err(refusal(function)),
        false => admit::<H>(function),
    }
}

fn refusal(function: &str) -> Error {
    let message = format!("permission denied for function helios.{function}");
    Error::new(Code::ERRCODE_INSUFFICIENT_PRIVILEGE, message)
        .detail("Only a coordinator calls it on its nodes, for statements that use tables of several servers.")
        .hint("Run such a statement on the coordinator.")
}
