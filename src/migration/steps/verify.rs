//! Compares the copies: before the switch, and on request while both exist.

use super::outcome::{StepOutcome, advance, connect, retry_until_done};
use super::switch::open_reverse_channel;
use crate::catalog::migration::{self, Migration};
use crate::catalog::migration_table::{self, MovingTable};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::migration::direction::{self, Direction};
use crate::migration::kind::Kind;
use crate::migration::switch::{self, Attempt};
use crate::pg::ipc::worker;
use crate::replication::endpoints::Endpoints;
use crate::replication::fence::{self, Fence, KeepOut};
use crate::replication::interruptible::Interruptible;
use crate::replication::source_catalogs;
use crate::replication::verify as comparison;
use crate::replication::verify::{Compared, TableName};
use helios_core::migration::Request;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::time::Duration;

/// State `verify`: compares the copies. There is no switch without it.
///
/// XX001 if the copies differ.
pub fn verify(migration: &Migration) -> Result<StepOutcome> {
    let mut endpoints = connect(migration)?;
    failpoint::hit(failpoint::MIGRATION_VERIFY_BEFORE)?;
    let compared =
        retry_until_done(migration, || compare(migration, &mut endpoints, Direction::Forward))?;
    let Interruptible::Completed(compared) = compared else { return Ok(StepOutcome::Continue) };
    match compared.as_slice() {
        [] => advance(migration, Kind::of(migration).after_verify()),
        [first, others @ ..] => Err(differ(migration, first, others.len())),
    }
}

/// Request `verify`: compares the copies on request. A difference is a result, not a failure.
pub fn again(migration: &Migration) -> Result<StepOutcome> {
    let direction = match migration.state.is_before_switch() {
        true => Direction::Forward,
        false => open_reverse_channel(migration).map(|_| Direction::Back)?,
    };
    let mut endpoints = connect(migration)?;
    let compared = retry_until_done(migration, || compare(migration, &mut endpoints, direction))?;
    if !compared.is_interrupted() {
        worker::attempt(|| migration::clear_request(migration.id, Request::Verify))?;
    }
    Ok(StepOutcome::Continue)
}

/// Compares once, records the result, and returns the tables that differ.
fn compare(
    migration: &Migration,
    endpoints: &mut Endpoints,
    direction: Direction,
) -> Result<Attempt<Vec<Compared>>> {
    if let Attempt::Busy(reason) = same_point(migration, endpoints, direction)? {
        return Ok(Attempt::Busy(reason));
    }
    let tables = worker::attempt(|| migration_table::of_migration(migration.id))?;
    let name =
        |table: &MovingTable| TableName { schema: table.schema.clone(), name: table.name.clone() };
    // The switch itself copies what logical replication does not replicate.
    let tables: Vec<TableName> = tables.iter().filter(|table| table.logged).map(name).collect();
    let mut compared = comparison::compare(&mut endpoints.source, &mut endpoints.target, &tables)?;
    endpoints.source.query("COMMIT")?;
    endpoints.target.query("COMMIT")?;
    worker::attempt(|| comparison::record(migration.id, &compared))?;
    compared.retain(|one| one.count > 0);
    Ok(Attempt::Done(compared))
}

/// Synchronizes both copies: returns sessions in REPEATABLE READ transactions whose snapshots see the same rows.
/// `direction` is the direction of replication.
fn same_point(
    migration: &Migration,
    endpoints: &mut Endpoints,
    direction: Direction,
) -> Result<Attempt<()>> {
    let (from, _) = direction.publisher_and_subscriber(migration);
    let keep_out = KeepOut::Writers;
    if let Some(obstacle) = switch::obstacle(migration, endpoints, from, keep_out)? {
        return Ok(Attempt::Busy(obstacle));
    }
    let channels = direction::channels(migration, direction)?;
    let lockable = source_catalogs::lockable(endpoints.to(from, migration), &migration.schemas)?;
    let mut outside = switch::lock_session(from)?;
    let mut fence_held = Duration::ZERO;
    let result = worker::attempt(|| {
        let fence = Fence::raise(migration, from, (&lockable, keep_out), outside.as_mut())?;
        switch::arrive(migration, endpoints, &channels, &fence)?;
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT FROM pg_class LIMIT 1";
        endpoints.source.query(begin)?;
        endpoints.target.query(begin)?;
        if let Some(session) = &mut outside {
            session.query("ROLLBACK")?;
        }
        fence_held = fence.held_for();
        Ok(())
    });
    if fence_held > Duration::ZERO {
        worker::attempt(|| migration::stalled(migration.id, fence_held))?;
    }
    match result {
        Ok(()) => Ok(Attempt::Done(())),
        Err(error) if fence::is_lock_conflict(&error) => {
            endpoints.roll_back()?;
            Ok(Attempt::Busy(error.to_string()))
        }
        Err(error) => Err(error),
    }
}

fn differ(migration: &Migration, first: &Compared, others: usize) -> Error {
    let more = match others {
        0 => String::new(),
        more => format!("; and {more} more tables"),
    };
    Error::new(Code::ERRCODE_DATA_CORRUPTED, "the two copies differ")
        .detail(format!("{first}{more}."))
        .hint(format!(
            "To list the rows, run SELECT * FROM helios_mismatches WHERE migration = {}.",
            migration.id
        ))
}
