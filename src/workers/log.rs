//! Log messages of the workers.

use crate::error::Error;
use crate::pg::error::notify;
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Writes a message to the server log.
pub fn log(message: String) {
    notify(PgLogLevel::LOG, &Error::new(Code::ERRCODE_SUCCESSFUL_COMPLETION, message));
}
