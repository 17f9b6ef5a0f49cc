//! Lines of the workers in the server's log.

use crate::error::Error;
use crate::pg::error::notify;
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Writes a line into the server's log.
pub fn log(message: String) {
    notify(PgLogLevel::LOG, &Error::new(Code::ERRCODE_SUCCESSFUL_COMPLETION, message));
}
