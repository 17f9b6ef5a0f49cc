//! State of the server: primary or standby, WAL, identity.

use crate::pg::session::backend_state;
use pgrx::pg_sys;

/// Whether the server is in recovery, as a standby or after a crash.
#[inline]
pub fn in_recovery() -> bool {
    backend_state::RecoveryInProgress()
}

/// The flush position of the WAL, and its timeline. Not during recovery.
pub fn flushed_log() -> (u64, u32) {
    let mut timeline = 0;
    // SAFETY: reads shared state of the server; the number outlives the call.
    let flushed = unsafe { pg_sys::GetFlushRecPtr(&mut timeline) };
    (flushed, timeline)
}

/// The next transaction ID to be assigned.
pub fn next_transaction_id() -> u64 {
    // SAFETY: reads shared state of the server.
    unsafe { pg_sys::ReadNextFullTransactionId() }.value
}

/// The timeline of this server's WAL. Not during recovery.
pub fn timeline() -> u32 {
    // SAFETY: reads shared state of the server.
    unsafe { pg_sys::GetWALInsertionTimeLine() }
}

/// The system identifier, which this server shares only with its standbys.
pub fn system_identifier() -> u64 {
    // SAFETY: reads the control file's copy in memory.
    unsafe { pg_sys::GetSystemIdentifier() }
}

/// The connection string of a standby to its primary; it may contain a password.
pub fn primary_conninfo() -> String {
    // SAFETY: the server's own setting, a C string or NULL.
    unsafe {
        let text = pg_sys::PrimaryConnInfo;
        if text.is_null() {
            return String::new();
        }
        std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}
