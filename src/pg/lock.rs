//! Heavyweight locks on things that are no relations.

use pgrx::pg_sys::{self, errcodes::PgSqlErrorCode as Code};
use std::ffi::CString;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

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

/// Locks objects of a catalog exclusively, in the order given, until the transaction ends. False, and none of them is
/// held, if one could not be had within `wait` (or the session's `lock_timeout`, if that is shorter): meanwhile all
/// who want to share it wait too.
pub fn exclusive_within(catalog: pg_sys::Oid, ids: &[u32], wait: Duration) -> bool {
    let attempt = Attempt::begin(wait);
    let locked = pgrx::PgTryBuilder::new(AssertUnwindSafe(|| {
        ids.iter().for_each(|&id| object(catalog, id, Mode::Exclusive));
        true
    }))
    .catch_when(Code::ERRCODE_LOCK_NOT_AVAILABLE, |_| false)
    .catch_others(|error| {
        attempt.end(false); // who catches this further up ends a subtransaction of his own
        error.rethrow()
    })
    .execute();
    attempt.end(locked);
    locked
}

/// A subtransaction with a lock timeout of its own.
#[derive(Clone, Copy)]
struct Attempt {
    context: pg_sys::MemoryContext,
    owner: pg_sys::ResourceOwner,
    settings: i32,
}

impl Attempt {
    fn begin(wait: Duration) -> Self {
        // SAFETY: reads and changes variables of this backend; the texts end with NUL and outlive the calls.
        unsafe {
            let (context, owner) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
            pg_sys::BeginInternalSubTransaction(std::ptr::null());
            pg_sys::MemoryContextSwitchTo(context);
            let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX).max(1);
            let limit = if pg_sys::LockTimeout > 0 { wait.min(pg_sys::LockTimeout) } else { wait };
            let limit = CString::new(limit.to_string()).unwrap_or_default();
            let settings = pg_sys::NewGUCNestLevel();
            pg_sys::set_config_option(
                c"lock_timeout".as_ptr(),
                limit.as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
            Self { context, owner, settings }
        }
    }

    fn end(self, keep: bool) {
        // SAFETY: ends what `begin` began, with its settings; what is kept goes to the transaction around it. Context
        // and owner were current when it began, and live longer.
        unsafe {
            if keep {
                pg_sys::AtEOXact_GUC(true, self.settings);
                pg_sys::ReleaseCurrentSubTransaction();
            } else {
                pg_sys::RollbackAndReleaseCurrentSubTransaction();
            }
            pg_sys::MemoryContextSwitchTo(self.context);
            pg_sys::CurrentResourceOwner = self.owner;
        }
    }
}
