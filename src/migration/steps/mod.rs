//! What the worker of a migration does in each state. A step ends with the next state committed, or changes nothing that
//! it would mind when it is repeated.

pub mod initial_copy;
pub mod replica;
pub mod switch;
pub mod verify;

use super::cleanup;
use super::start;
use super::switch::Tried;
use crate::catalog;
use crate::catalog::migration::{self, Migration};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::pg::error::notify;
use crate::pg::ipc::worker;
use crate::replication::endpoints::{Ends, literal};
use crate::settings;
use helios_core::migration::{State, Wish, back_off};
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::time::{Duration, Instant};

/// What a step came to.
pub enum Next {
    /// The migration is in another state.
    Go,
    /// There is nothing to do until this time is over or something is asked for.
    Rest(Duration),
    /// It is over.
    End,
}

/// Does what the migration's state, or what is asked of it, calls for. `held` is what the worker remembers from step to
/// step: see [`crate::replication::fence::left_old_shard`].
pub fn step(migration: &Migration, held: &mut Option<Vec<String>>) -> Result<Next> {
    failpoint::hit(failpoint::MIGRATION_STEP_BEFORE)?;
    match (migration.wish, migration.state) {
        (Some(Wish::Cancel), state) if state.is_before_switch() => {
            return end(migration, State::Cancelled);
        }
        (Some(Wish::RollBack), State::DualWriteBack) => return switch::roll_back(migration),
        (Some(Wish::Finish), State::DualWriteBack) => {
            return end(migration, State::Finished);
        }
        (Some(Wish::Verify), State::InStep | State::DualWriteBack) => {
            return verify::again(migration);
        }
        (Some(Wish::Promote), State::InStep | State::Switch | State::DualWriteBack) => {
            return replica::promote(migration);
        }
        _ => {}
    }
    match migration.state {
        State::Planned => initial_copy::planned(migration, held),
        State::DualWrite | State::Backfill => initial_copy::copy(migration),
        State::CatchUp => initial_copy::catch_up(migration),
        State::Verify => verify::verify(migration),
        State::InStep => replica::in_step(migration),
        State::Switch => switch::switch_over(migration),
        State::DualWriteBack => switch::dual_write_back(migration),
        State::Cleanup => clean_up(migration),
        State::Finished | State::RolledBack | State::Cancelled | State::Failed => Ok(Next::End),
    }
}

fn advance(migration: &Migration, state: State) -> Result<Next> {
    worker::attempt(|| migration::advance(migration.id, state)).map(|()| Next::Go)
}

/// Ends the migration, unless something else was asked of it since it was loaded.
fn end(migration: &Migration, outcome: State) -> Result<Next> {
    worker::attempt(|| match migration::is_still_asked(migration)? {
        true => migration::end(migration.id, outcome, None),
        false => Ok(()),
    })
    .map(|()| Next::Go)
}

fn ends(migration: &Migration) -> Result<Ends> {
    worker::attempt(|| Ends::connect(migration))
}

/// Tries until it succeeds, with growing pauses in which nobody waits. None if something was asked for in between.
fn persist<T>(
    migration: &Migration,
    mut attempt: impl FnMut() -> Result<Tried<T>>,
) -> Result<Option<T>> {
    let began = Instant::now();
    let mut tries = 0;
    loop {
        let reason = match attempt()? {
            Tried::Done(value) => return Ok(Some(value)),
            Tried::Busy(reason) => reason,
        };
        tries += 1;
        worker::attempt(|| migration::note(migration.id, Some(&reason)))?;
        let late =
            began.elapsed().as_millis() > settings::SWITCH_TIMEOUT.get().unsigned_abs().into();
        let most = Duration::from_secs(if late { 15 } else { 2 });
        let until = Instant::now() + back_off(tries, Duration::from_millis(50), most);
        while Instant::now() < until {
            worker::rest(
                until.saturating_duration_since(Instant::now()).min(Duration::from_millis(200)),
            );
            let now = worker::attempt(|| migration::load(migration.id))?;
            if now.wish != migration.wish || now.state != migration.state {
                return Ok(None);
            }
        }
    }
}

fn clean_up(migration: &Migration) -> Result<Next> {
    if migration.keeps {
        worker::attempt(|| crate::replica::leave(migration))?;
    }
    cleanup::open_foreign(migration)?;
    cleanup::all(migration)?;
    let outcome = migration.outcome.unwrap_or(State::Failed);
    worker::attempt(|| {
        catalog::migration_table::forget(migration.id)?;
        catalog::set_moving(migration.shard, false)?;
        start::settle(migration, outcome)?;
        migration::advance(migration.id, outcome)
    })?;
    let line = format!(
        "migration {} of {} is over: {outcome}",
        migration.id,
        literal(&migration.schemas.join(", "))
    );
    notify(PgLogLevel::LOG, &Error::new(Code::ERRCODE_SUCCESSFUL_COMPLETION, line));
    Ok(Next::End)
}
