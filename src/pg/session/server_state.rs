//! What the server is: primary or standby, its log, its identity.

use crate::pg::session::backend_state;
use pgrx::pg_sys;

/// Whether the server replays what another one writes, or what it wrote before a crash.
#[inline]
pub fn in_recovery() -> bool {
    backend_state::RecoveryInProgress()
}

/// How far the log is durable, and its timeline. Only outside of recovery.
pub fn flushed_log() -> (u64, u32) {
    let mut timeline = 0;
    // SAFETY: reads shared state of the server; the number outlives the call.
    let flushed = unsafe { pg_sys::GetFlushRecPtr(&mut timeline) };
    (flushed, timeline)
}

/// The id that the next transaction that writes will get.
pub fn next_transaction_id() -> u64 {
    // SAFETY: reads shared state of the server.
    unsafe { pg_sys::ReadNextFullTransactionId() }.value
}

/// The timeline of the log that this server writes. Only outside of recovery.
pub fn timeline() -> u32 {
    // SAFETY: reads shared state of the server.
    unsafe { pg_sys::GetWALInsertionTimeLine() }
}

/// The number that this server shares with its standbys and nobody else.
pub fn system_identifier() -> u64 {
    // SAFETY: reads the control file's copy in memory.
    unsafe { pg_sys::GetSystemIdentifier() }
}

/// The connection string with which a standby follows its primary; it may hold a password.
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
