//! Statements that may take long, because of the amount of work or because they are blocked: they are cancelled when
//! a request is submitted to their migration.
//!
//! Callers of such statements return [`Interruptible`] as well, up to the step that started it, which causes the
//! migration to be reloaded.

use crate::catalog::migration::{self, Migration};
use crate::error::Result;
use crate::pg::ipc::worker;
use crate::remote::{Answer, Rows, Session, wait_for_any};
use std::time::{Duration, Instant};

/// Pause between two checks for a new request.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Pause between two checks for the result.
const PAUSE: Duration = Duration::from_millis(20);

/// Outcome of work on a migration that is interrupted by a request (cancel, roll back, …).
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interruptible<T = ()> {
    /// The work was completed.
    Completed(T),
    /// A request has been submitted: the migration must be reloaded. The work may or may not have taken effect.
    Interrupted,
}

impl<T> Interruptible<T> {
    /// Whether the work was interrupted.
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Self::Interrupted)
    }

    /// The same outcome with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Interruptible<U> {
        match self {
            Self::Completed(value) => Interruptible::Completed(change(value)),
            Self::Interrupted => Interruptible::Interrupted,
        }
    }
}

/// Runs statements and returns their rows. Must be called outside of a transaction.
pub fn query(
    migration: &Migration,
    session: &mut Session,
    sql: &str,
) -> Result<Interruptible<Rows>> {
    session.start_query(sql)?;
    let mut answer = Answer::default();
    let mut polled = Instant::now();
    let mut given_up = false;
    loop {
        match session.poll_query(&mut answer) {
            Ok(None) => {}
            _ if given_up => return Ok(Interruptible::Interrupted),
            Ok(Some(rows)) => return Ok(Interruptible::Completed(rows)),
            Err(error) => return Err(error),
        }
        if !given_up && polled.elapsed() > POLL_INTERVAL {
            polled = Instant::now();
            let now = worker::attempt(|| migration::load(migration.id))?;
            given_up = now.request != migration.request && session.request_cancel();
        }
        wait_for_any(&[&*session], PAUSE);
    }
}
