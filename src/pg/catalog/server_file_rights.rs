//! Privileges that PostgreSQL checks inside its own COPY.

use crate::error::{Error, Result};
use pgrx::pg_sys::{self, Oid, errcodes::PgSqlErrorCode};

/// 42501 unless the current user may read (`from`) or write server files, or run programs.
pub fn require(from: bool, program: bool) -> Result<()> {
    let (role, name, what) = match (program, from) {
        (true, true) => (
            pg_sys::ROLE_PG_EXECUTE_SERVER_PROGRAM,
            "pg_execute_server_program",
            "from an external program",
        ),
        (true, false) => (
            pg_sys::ROLE_PG_EXECUTE_SERVER_PROGRAM,
            "pg_execute_server_program",
            "to an external program",
        ),
        (false, true) => (pg_sys::ROLE_PG_READ_SERVER_FILES, "pg_read_server_files", "from a file"),
        (false, false) => {
            (pg_sys::ROLE_PG_WRITE_SERVER_FILES, "pg_write_server_files", "to a file")
        }
    };
    // SAFETY: catalog lookups for a role that exists in every cluster.
    let allowed = unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), Oid::from(role)) };
    if allowed {
        return Ok(());
    }
    Err(Error::new(
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("permission denied to COPY {what}"),
    )
    .detail(format!("Only roles with privileges of the \"{name}\" role may COPY {what}."))
    .hint("Anyone can COPY to stdout or from stdin. psql's \\copy command also works for anyone."))
}
