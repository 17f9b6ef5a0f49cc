//! Cheap accessors for the server's state of this backend.
//!
//! These functions return a variable or the clock, and raise no errors in any version that Helios supports. So they are
//! called without the guard of pgrx's bindings, which costs twenty times as much as the call itself, and each statement
//! makes many of them.

use pgrx::pg_sys::{self, Oid};
use std::ffi::c_int;

unsafe extern "C-unwind" {
    // SAFETY of all: they read variables of this process (its one thread is the server's), and write through the
    // references given. RecoveryInProgress() reads shared state besides, which is there as long as the process.
    pub(in crate::pg) safe fn GetSessionUserId() -> Oid;
    pub(in crate::pg) safe fn GetAuthenticatedUserId() -> Oid;
    pub(in crate::pg) safe fn GetUserIdAndSecContext(user: &mut Oid, context: &mut c_int);
    pub(in crate::pg) safe fn InSecurityRestrictedOperation() -> bool;
    pub(in crate::pg) safe fn GetCurrentTransactionNestLevel() -> c_int;
    pub(in crate::pg) safe fn GetTopTransactionIdIfAny() -> pg_sys::TransactionId;
    pub(in crate::pg) safe fn IsTransactionBlock() -> bool;
    pub(in crate::pg) safe fn GetCurrentStatementStartTimestamp() -> pg_sys::TimestampTz;
    pub(in crate::pg) safe fn GetCurrentTimestamp() -> pg_sys::TimestampTz;
    pub(in crate::pg) safe fn RecoveryInProgress() -> bool;
    pub(in crate::pg) safe fn GetDatabaseEncoding() -> c_int;
    pub(in crate::pg) safe fn pg_get_client_encoding() -> c_int;
    pub(in crate::pg) safe fn IsLogicalWorker() -> bool;

    /// Registers the callback with the memory context; both are valid.
    pub(in crate::pg) fn MemoryContextRegisterResetCallback(
        context: pg_sys::MemoryContext,
        callback: *mut pg_sys::MemoryContextCallback,
    );
}
