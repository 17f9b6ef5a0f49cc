//! Heavyweight locks on objects other than relations.

use crate::error::Result;
use crate::pg::session::own_settings::set_in_level;
use crate::pg::session::subtransaction;
use pgrx::pg_sys::{self, errcodes::PgSqlErrorCode as Code};
use std::ffi::CString;
use std::time::Duration;

/// Lock mode.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Conflicts with [`Mode::Exclusive`] only.
    Share,
    /// Conflicts with every other holder.
    Exclusive,
}

impl Mode {
    fn level(self) -> pg_sys::LOCKMODE {
        let level = match self {
            Mode::Share => pg_sys::AccessShareLock,
            Mode::Exclusive => pg_sys::AccessExclusiveLock,
        };
        level as pg_sys::LOCKMODE
    }
}

/// Locks a database object until the transaction ends; the wait is subject to timeouts and cancellation.
pub fn object(catalog: pg_sys::Oid, id: u32, mode: Mode) {
    // SAFETY: no pointers; the lock is released by the end of the transaction.
    unsafe { pg_sys::LockDatabaseObject(catalog, id.into(), 0, mode.level()) }
}

/// Releases one lock acquired by [`object`].
pub fn release(catalog: pg_sys::Oid, id: u32, mode: Mode) {
    // SAFETY: no pointers; a lock that is not held is a warning.
    unsafe { pg_sys::UnlockDatabaseObject(catalog, id.into(), 0, mode.level()) }
}

/// Locks a database object until this process exits, if the lock is available; returns whether it was. Uses the lock
/// tag of advisory locks with a class that clients cannot use, because other session-level locks would outlive a
/// background worker.
pub fn try_for_session(catalog: pg_sys::Oid, id: u32) -> bool {
    /// Advisory locks of clients use 1 or 2 here.
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

/// Locks database objects exclusively, in the given order, until the transaction ends. False, with none of them locked,
/// if one could not be acquired within `wait` (or the session's `lock_timeout`, if shorter). Requests for share locks
/// queue behind it in the meantime.
pub fn exclusive_within(catalog: pg_sys::Oid, ids: &[u32], wait: Duration) -> Result<bool> {
    let locked = subtransaction::attempt(|| {
        limit(wait);
        ids.iter().for_each(|&id| object(catalog, id, Mode::Exclusive));
        Ok(())
    });
    match locked {
        Ok(()) => Ok(true),
        Err(error) if error.is(Code::ERRCODE_LOCK_NOT_AVAILABLE) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Limits lock waits to this time, or the session's `lock_timeout`, until the subtransaction ends.
fn limit(wait: Duration) {
    let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX).max(1);
    // SAFETY: reads a variable of this backend.
    let own = unsafe { pg_sys::LockTimeout };
    let limit = if own > 0 { wait.min(own) } else { wait };
    let limit = CString::new(limit.to_string()).unwrap_or_default();
    set_in_level(c"lock_timeout", &limit);
}
