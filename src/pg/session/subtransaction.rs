//! Work that may fail without aborting the transaction.

use crate::error::Result;
use crate::pg::error::caught;
use pgrx::pg_sys::{self, errcodes::PgSqlErrorCode as Code};
use std::panic::AssertUnwindSafe;

/// Runs work in a subtransaction: its effects are kept if it succeeds, and undone, including its locks, if it fails
/// with our own error or one of PostgreSQL's. Cancellation and termination are not caught.
pub fn attempt<R>(work: impl FnOnce() -> Result<R>) -> Result<R> {
    let open = Open::begin();
    let result = pgrx::PgTryBuilder::new(AssertUnwindSafe(work))
        .catch_when(Code::ERRCODE_QUERY_CANCELED, |cause| {
            open.end(false); // callers that catch this end their own subtransaction
            cause.rethrow()
        })
        .catch_when(Code::ERRCODE_ADMIN_SHUTDOWN, |cause| {
            open.end(false);
            cause.rethrow()
        })
        .catch_others(|cause| Err(caught(&cause)))
        .execute();
    open.end(result.is_ok());
    result
}

#[derive(Clone, Copy)]
struct Open {
    context: pg_sys::MemoryContext,
    owner: pg_sys::ResourceOwner,
    settings: i32,
}

impl Open {
    fn begin() -> Self {
        // SAFETY: reads and changes variables of this backend.
        unsafe {
            let (context, owner) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
            pg_sys::BeginInternalSubTransaction(std::ptr::null());
            pg_sys::MemoryContextSwitchTo(context);
            Self { context, owner, settings: pg_sys::NewGUCNestLevel() }
        }
    }

    fn end(self, keep: bool) {
        // SAFETY: ends what `begin` began, with the settings changed since; what is kept goes to the transaction
        // around it. Context and owner were current when it began, and live longer.
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
