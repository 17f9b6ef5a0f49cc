//! Heavyweight locks on things that are no relations.

use pgrx::pg_sys;

/// How strongly a lock is held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Conflicts with [`Mode::Exclusive`] only.
    Share,
    /// Conflicts with every other holder.
    Exclusive,
}

/// Locks an object of a catalog until the transaction ends; waits under the usual timeouts and cancels.
pub fn object(catalog: pg_sys::Oid, id: u32, mode: Mode) {
    let mode = match mode {
        Mode::Share => pg_sys::AccessShareLock,
        Mode::Exclusive => pg_sys::AccessExclusiveLock,
    };
    // SAFETY: no pointers; the lock is released by the end of the transaction.
    unsafe { pg_sys::LockDatabaseObject(catalog, id.into(), 0, mode as pg_sys::LOCKMODE) }
}
