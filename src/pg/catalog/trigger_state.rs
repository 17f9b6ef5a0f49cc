//! When triggers fire, changed without ALTER TABLE, which refuses tables that are in use by the session: an open cursor,
//! a loop over its rows, deferred constraints that are still to be checked.

use crate::error::{Error, Result};
use pgrx::pg_sys::{self, Oid, errcodes::PgSqlErrorCode as Code};
use std::ffi::{CString, c_char, c_int};

/// The values of `pg_trigger.tgenabled` that are needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fires {
    /// Whatever `session_replication_role` is.
    Always,
    /// Never.
    Never,
}

/// Changes when a trigger fires. The table is locked as CREATE TRIGGER locks it.
///
/// Errors: 42501 for a trigger of a constraint, unless the current user is a superuser.
pub fn set(relation: Oid, trigger: &str, fires: Fires) -> Result<()> {
    let name = CString::new(trigger).map_err(|_| {
        Error::new(Code::ERRCODE_INVALID_NAME, "names of triggers cannot contain NUL bytes")
    })?;
    let fires = match fires {
        Fires::Always => pg_sys::TRIGGER_FIRES_ALWAYS,
        Fires::Never => pg_sys::TRIGGER_DISABLED,
    } as c_char;
    let lock = pg_sys::ShareRowExclusiveLock as c_int;
    // SAFETY: the relation is open and locked during the call; the name is NUL-terminated and outlives it.
    unsafe {
        let table = pg_sys::table_open(relation, lock);
        #[cfg(feature = "pg15")]
        pg_sys::EnableDisableTrigger(table, name.as_ptr(), fires, false, lock);
        #[cfg(not(feature = "pg15"))]
        pg_sys::EnableDisableTrigger(table, name.as_ptr(), Oid::INVALID, fires, false, false, lock);
        pg_sys::table_close(table, pg_sys::NoLock as c_int);
        pg_sys::CommandCounterIncrement();
    }
    Ok(())
}
