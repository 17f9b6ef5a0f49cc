//! Version of the directory cached by a backend: a number that changes whenever the cached data may have changed, here
//! or in another backend.
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
    /// Whether the current transaction has changed the directory.
    static CHANGED: Cell<bool> = const { Cell::new(false) };
}

/// Changes whenever data in the directory cache may have changed: this backend's number and the shared one.
#[inline]
pub fn current() -> (u64, u64) {
    (invalidation::epoch(), GENERATION.get().load(Ordering::Acquire))
}

/// Records a change of the directory by the current transaction: visible here at once, elsewhere when it commits.
pub fn directory_changed() {
    CHANGED.set(true);
    invalidation::invalidate();
}

/// Transaction callback: announces a change at commit, and discards it at abort.
///
/// Errors: 0A000 on PREPARE of a transaction that changed the directory, because no one would be informed at its
/// commit.
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
            // There may be new nodes to be monitored, or none left.
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
