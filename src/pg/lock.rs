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

/// Locks an object of a catalog until this process ends, if nobody has it now; whether it did. It is a kind of advisory
/// lock, which no client can take: others of a session would outlive a background worker.
pub fn try_for_session(catalog: pg_sys::Oid, id: u32) -> bool {
    /// Those of clients have 1 or 2 here.
    const OURS: u16 = 3;
    // SAFETY: the tag is plain data; the lock is released when the process ends.
    unsafe {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: pg_sys::MyDatabaseId.to_u32(),
            locktag_field2: catalog.to_u32(),
            locktag_field3: id,
            locktag_field4: OURS,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        };
        let mode = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;
        pg_sys::LockAcquire(&tag, mode, true, true)
            != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
    }
}
