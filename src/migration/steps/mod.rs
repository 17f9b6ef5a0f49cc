//! The steps of a migration: what its worker does in each state. A step either commits the next state or leaves nothing
//! behind that would prevent its repetition. Read [`step`] first, which picks the step.
//!
//! Invariant: a step that returns an error can be repeated by another worker.
//!
//! Lock order: that of [`crate::migration`].

pub mod initial_copy;
pub mod outcome;
pub mod replica;
pub mod switch;
pub mod take_over;
pub mod verify;

use super::cleanup;
use super::replica_rows;
use super::start;
use crate::catalog;
use crate::catalog::migration::{self, Migration};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::migration::kind::Kind;
use crate::pg::error::notify;
use crate::pg::ipc::worker;
use crate::replication::endpoints::literal;
use helios_core::migration::{Request, State};
use outcome::{StepOutcome, end};
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Performs the step for the migration's state or pending request. `old_holders` is what the worker remembers from step
/// to step: see [`crate::replication::fence::has_left_old_shard`].
pub fn step(migration: &Migration, old_holders: &mut Option<Vec<String>>) -> Result<StepOutcome> {
    failpoint::hit(failpoint::MIGRATION_STEP_BEFORE)?;
    match (migration.request, migration.state) {
        (Some(Request::Cancel), state) if state.is_before_switch() => {
            return end(migration, State::Cancelled);
        }
        (Some(Request::RollBack), State::DualWriteBack) => return switch::roll_back(migration),
        (Some(Request::Finish), State::DualWriteBack) => {
            return end(migration, State::Finished);
        }
        (Some(Request::Verify), State::InStep | State::DualWriteBack) => {
            return verify::again(migration);
        }
        (Some(Request::Promote), State::InStep | State::Switch | State::DualWriteBack) => {
            return replica::promote(migration);
        }
        _ => {}
    }
    match migration.state {
        State::Planned => initial_copy::planned(migration, old_holders),
        State::DualWrite | State::Backfill => initial_copy::copy(migration),
        State::CatchUp => initial_copy::catch_up(migration),
        State::Verify => verify::verify(migration),
        State::InStep => replica::in_step(migration),
        State::Switch => switch::switch_over(migration),
        State::DualWriteBack => switch::dual_write_back(migration),
        State::Cleanup => clean_up(migration),
        State::Finished | State::RolledBack | State::Cancelled | State::Failed => {
            Ok(StepOutcome::Ended)
        }
    }
}

fn clean_up(migration: &Migration) -> Result<StepOutcome> {
    if Kind::of(migration) == Kind::Replica {
        worker::attempt(|| replica_rows::leave(migration))?;
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
        "migration {} of {} has ended: {outcome}",
        migration.id,
        literal(&migration.schemas.join(", "))
    );
    notify(PgLogLevel::LOG, &Error::new(Code::ERRCODE_SUCCESSFUL_COMPLETION, line));
    Ok(StepOutcome::Ended)
}
