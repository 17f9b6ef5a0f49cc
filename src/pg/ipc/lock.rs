//! Heavyweight locks on things that are no relations.

use crate::error::Result;
use crate::pg::session::own_settings::set_in_level;
use crate::pg::session::subtransaction;
use pgrx::pg_sys::{self, errcodes::PgSqlErrorCode as Code};
use std::ffi::CString;
use std::time::Duration;

/// How strongly a lock is held.
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

/// Locks an object of a catalog until the transaction ends; waits under the usual timeouts and cancels.
pub fn object(catalog: pg_sys::Oid, id: u32, mode: Mode) {
    // SAFETY: no pointers; the lock is released by the end of the transaction.
    unsafe { pg_sys::LockDatabaseObject(catalog, id.into(), 0, mode.level()) }
}

/// Gives up one lock that [`object`] took.
pub fn release(catalog: pg_sys::Oid, id: u32, mode: Mode) {
    // SAFETY: no pointers; a lock that is not held is a warning.
    unsafe { pg_sys::UnlockDatabaseObject(catalog, id.into(), 0, mode.level()) }
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

/// Locks objects of a catalog exclusively, in the order given, until the transaction ends. False, and none of them is
/// held, if one could not be had within `wait` (or the session's `lock_timeout`, if that is shorter): meanwhile all
/// who want to share it wait too.
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

/// Waits for locks end after this time, or the session's `lock_timeout`, until the subtransaction ends.
fn limit(wait: Duration) {
    let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX).max(1);
    // SAFETY: reads a variable of this backend.
    let own = unsafe { pg_sys::LockTimeout };
    let limit = if own > 0 { wait.min(own) } else { wait };
    let limit = CString::new(limit.to_string()).unwrap_or_default();
    set_in_level(c"lock_timeout", &limit);
}
