//! Statements that may take long, because there is much to do or somebody is in the way: they are given up when
//! something is asked of their migration.
//!
//! What runs such statements is a [`Interruptible`] as well, up to the step that began it: that one lets the migration be loaded
//! again.

use crate::catalog::migration::{self, Migration};
use crate::error::Result;
use crate::pg::ipc::worker;
use crate::remote::{Answer, Rows, Session, wait_for_any};
use std::time::{Duration, Instant};

/// Pause between two checks for a new request.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Pause between two checks for the result.
const PAUSE: Duration = Duration::from_millis(20);

/// Outcome of work on a migration that a request to it (cancel, roll back, …) ends early.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interruptible<T = ()> {
    /// It was done to its end.
    Completed(T),
    /// A request has arrived: the migration has to be loaded again. The work may or may not have had its effect.
    Interrupted,
}

impl<T> Interruptible<T> {
    /// Whether a request has arrived.
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

/// Runs statements and gives their rows. To be called outside a transaction.
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
