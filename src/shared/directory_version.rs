//! Which version of the directory a backend's copy is of: a number that changes whenever what the copy rests on may have
//! changed, here or in another backend.
//!
//! The transaction that changes the directory sees its change at once; all others see it when it commits.

use crate::error::{Error, Result};
use crate::pg::hooks::invalidation;
use crate::pg::ipc::shared_memory::Unlocked;
use crate::pg::session;
use crate::pg::session::xact::Event;
use crate::shared::worker_slots::{self, Work};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of committed changes to any database's directory since the server started.
pub(super) static GENERATION: Unlocked<AtomicU64> = Unlocked::new(c"helios_generation");

thread_local! {
    /// The current transaction has changed the directory.
    static CHANGED: Cell<bool> = const { Cell::new(false) };
}

/// Changes whenever something that the directory's copy rests on may have changed: this backend's number and that of all.
#[inline]
pub fn current() -> (u64, u64) {
    (invalidation::epoch(), GENERATION.get().load(Ordering::Acquire))
}

/// The current transaction changes the directory: seen here at once, elsewhere when it commits.
pub fn directory_changed() {
    CHANGED.set(true);
    invalidation::invalidate();
}

/// Follows the local transaction: tells the others when a change commits, and forgets one that is rolled back.
///
/// Errors: 0A000 when a transaction that changed the directory is to be left prepared: nobody would be told at its commit.
pub fn on_event(event: Event) -> Result<()> {
    if !CHANGED.get() {
        return Ok(());
    }
    match event {
        Event::PrePrepare => {
            return Err(Error::new(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                "cannot PREPARE a transaction that has changed the cluster's directory",
            )
            .hint("Use COMMIT instead of PREPARE TRANSACTION."));
        }
        Event::Commit => {
            CHANGED.set(false);
            invalidation::invalidate();
            GENERATION.get().fetch_add(1, Ordering::AcqRel);
            let database = session::database_id();
            // There may be nodes now that want to be watched, or none any more.
            worker_slots::note(database, Work::Pending);
            worker_slots::wake(database);
        }
        Event::Abort => {
            CHANGED.set(false);
            invalidation::invalidate();
        }
        Event::SubAbort(_) => invalidation::invalidate(),
        Event::PreCommit | Event::Prepare | Event::SubCommit(_) => {}
    }
    Ok(())
}
