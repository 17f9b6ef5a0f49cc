//! Numbers that nobody can guess.

use crate::error::{Error, Result};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use ring::rand::{SecureRandom, SystemRandom};

/// A random number.
pub fn number() -> Result<i64> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| {
        Error::new(Code::ERRCODE_INTERNAL_ERROR, "could not generate random values")
    })?;
    Ok(i64::from_be_bytes(bytes))
}
