//! The library must be preloaded: shared memory and the scanner are set up in the postmaster.

use crate::error::Error;
use crate::pg::error::OrRaise;
use pgrx::pg_sys::{self, errcodes::PgSqlErrorCode as Code};

/// Rejects loading the library after the server's start (55000).
pub fn require() {
    // SAFETY: reads a variable of the postmaster.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        hide_backtraces();
        return;
    }
    let refusal: crate::error::Result<()> = Err(Error::new(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "helios must be loaded via \"shared_preload_libraries\"",
    )
    .hint("Set shared_preload_libraries = 'helios' in postgresql.conf and restart the server."));
    refusal.or_raise();
}

/// Keeps Rust's backtraces out of error details, whatever the server's environment variables say.
fn hide_backtraces() {
    // SAFETY: the postmaster is alone while it loads libraries.
    unsafe { std::env::set_var("RUST_LIB_BACKTRACE", "0") };
}
