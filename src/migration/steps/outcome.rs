//! Common parts of all steps: their outcome, and how they retry, advance and end a migration.

use crate::catalog::migration::{self, Migration};
use crate::error::Result;
use crate::migration::switch::Attempt;
use crate::pg::ipc::worker;
use crate::replication::endpoints::Endpoints;
use crate::replication::interruptible::Interruptible;
use crate::settings;
use helios_core::migration::{State, back_off};
use std::time::{Duration, Instant};

/// Outcome of one step, for the worker that runs the migration.
pub enum StepOutcome {
    /// Reload the migration and perform its next step: its state or its request has changed.
    Continue,
    /// Nothing to do until this time has passed or a request arrives; the worker exits.
    Sleep(Duration),
    /// The migration has reached its last state.
    Ended,
}

/// Commits the next state of a migration.
pub fn advance(migration: &Migration, state: State) -> Result<StepOutcome> {
    worker::attempt(|| migration::advance(migration.id, state)).map(|()| StepOutcome::Continue)
}

/// Ends the migration with this outcome, unless another request has arrived since it was loaded.
pub fn end(migration: &Migration, outcome: State) -> Result<StepOutcome> {
    worker::attempt(|| match migration::is_request_unchanged(migration)? {
        true => migration::end(migration.id, outcome, None),
        false => Ok(()),
    })
    .map(|()| StepOutcome::Continue)
}

/// Connects to both endpoints of a migration.
pub fn connect(migration: &Migration) -> Result<Endpoints> {
    worker::attempt(|| Endpoints::connect(migration))
}

/// Repeats attempts until one succeeds, with growing pauses, during which nobody is blocked. A state change by another
/// process interrupts it like a request.
pub fn retry_until_done<T>(
    migration: &Migration,
    mut attempt: impl FnMut() -> Result<Attempt<T>>,
) -> Result<Interruptible<T>> {
    let began = Instant::now();
    let mut tries = 0;
    loop {
        let reason = match attempt()? {
            Attempt::Done(value) => return Ok(Interruptible::Completed(value)),
            Attempt::Busy(reason) => reason,
        };
        tries += 1;
        worker::attempt(|| migration::note(migration.id, Some(&reason)))?;
        let late =
            began.elapsed().as_millis() > settings::SWITCH_TIMEOUT.get().unsigned_abs().into();
        let most = Duration::from_secs(if late { 15 } else { 2 });
        let until = Instant::now() + back_off(tries, Duration::from_millis(50), most);
        while Instant::now() < until {
            worker::sleep(
                until.saturating_duration_since(Instant::now()).min(Duration::from_millis(200)),
            );
            let now = worker::attempt(|| migration::load(migration.id))?;
            if now.request != migration.request || now.state != migration.state {
                return Ok(Interruptible::Interrupted);
            }
        }
    }
}
