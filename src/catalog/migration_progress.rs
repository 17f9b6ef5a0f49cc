//! Updates of rows in `helios.migration`: states, requests, and progress.

use super::as_owner;
use super::tables::MigrationProgressRow;
use crate::error::Result;
use crate::pg::catalog::table::Table;
use crate::pg::session::sql;
use helios_core::migration::{Request, State};
use pgrx::pg_sys::Oid;
use std::time::Duration;

/// Sets the state, and clears the error of the previous one.
pub fn advance(id: i64, state: State) -> Result<()> {
    let update = "UPDATE helios.migration SET state = $2, error = CASE WHEN outcome = 'failed' THEN error END,
                         tries = 0, retry_at = NULL,
                         copying = CASE WHEN $2 = 'backfill' THEN coalesce(copying, clock_timestamp()) ELSE copying END,
                         copied = CASE WHEN $2 = 'catch_up' THEN clock_timestamp() ELSE copied END,
                         verified = CASE WHEN $2 IN ('switch', 'in_step') THEN clock_timestamp() ELSE verified END,
                         switched = CASE WHEN $2 = 'dual_write_back' THEN clock_timestamp() ELSE switched END,
                         ended = CASE WHEN $3 THEN clock_timestamp() END
                   WHERE id = $1";
    sql::run(update, &[id.into(), state.name().into(), state.is_last().into()])
}

/// Sets the state to cleanup, with the outcome that follows it.
pub fn end(id: i64, outcome: State, error: Option<&str>) -> Result<()> {
    let update = "UPDATE helios.migration SET state = 'cleanup', outcome = $2, request = NULL, error = $3, tries = 0, retry_at = NULL
                   WHERE id = $1";
    sql::run("DELETE FROM helios.replica WHERE migration = $1", &[id.into()])?;
    sql::run(update, &[id.into(), outcome.name().into(), error.into()])
}

/// Records why a step failed, and when it is retried.
pub fn postpone(id: i64, error: &str, pause: Duration) -> Result<()> {
    let update = "UPDATE helios.migration SET error = $2, tries = tries + 1,
                         retry_at = clock_timestamp() + make_interval(secs => $3) WHERE id = $1";
    sql::run(update, &[id.into(), error.into(), pause.as_secs_f64().into()])
}

/// Records what a migration is waiting for; None when the wait is over.
pub fn note(id: i64, what: Option<&str>) -> Result<()> {
    let update =
        "UPDATE helios.migration SET error = $2 WHERE id = $1 AND error IS DISTINCT FROM $2";
    sql::run(update, &[id.into(), what.into()])
}

/// Records the progress of the copy.
pub fn progress(id: i64, rows: u64, bytes: u64) -> Result<()> {
    let update = "UPDATE helios.migration SET rows_done = $2, rows_total = greatest(rows_total, $2), bytes_done = $3 WHERE id = $1";
    sql::run(update, &[id.into(), (rows as i64).into(), (bytes as i64).into()])
}

/// Records the other copy's lag in bytes of WAL.
pub fn lag(id: i64, bytes: i64) -> Result<()> {
    sql::run("UPDATE helios.migration SET lag = $2 WHERE id = $1", &[id.into(), bytes.into()])
}

/// Records for how long a fence was held.
pub fn stalled(id: i64, time: Duration) -> Result<()> {
    let update = "UPDATE helios.migration SET stall = greatest(stall, $2) WHERE id = $1";
    sql::run(update, &[id.into(), (time.as_secs_f64() * 1000.0).into()])
}

/// Records the identity of source and target servers.
pub fn histories(id: i64, now: &[String]) -> Result<()> {
    let update = "UPDATE helios.migration SET histories = $2 WHERE id = $1 AND histories IS NULL";
    as_owner(|| sql::run(update, &[id.into(), now.to_vec().into()]))
}

/// Starts another round; returns its number.
pub fn next_round(id: i64) -> Result<i32> {
    let update = "UPDATE helios.migration SET round = round + 1 WHERE id = $1 RETURNING round";
    Ok(sql::one::<i32>(update, &[id.into()])?.unwrap_or(0))
}

/// Clears a request that has been carried out.
pub fn clear_request(id: i64, request: Request) -> Result<()> {
    let update = "UPDATE helios.migration SET request = NULL WHERE id = $1 AND request = $2";
    sql::run(update, &[id.into(), request.name().into()])
}

/// The OID of `helios.migration`, the class of the workers' object locks.
pub fn catalog() -> Option<Oid> {
    Table::<MigrationProgressRow>::find().map(Table::oid)
}

/// Submits a request to a migration in any state.
pub fn submit(id: i64, request: Request) -> Result<()> {
    let update = "UPDATE helios.migration SET request = $2, retry_at = NULL WHERE id = $1";
    sql::run(update, &[id.into(), request.name().into()])
}

/// Submits a request to a moving migration if its state allows that; otherwise false. Sees concurrent changes of the
/// state.
pub fn submit_if_allowed(id: i64, request: Request) -> Result<bool> {
    let update = "UPDATE helios.migration SET request = $2, retry_at = NULL
                   WHERE id = $1 AND state = ANY ($3) AND NOT keeps RETURNING id";
    let allowed = State::ALL.into_iter().filter(|state| state.allows(request));
    let allowed: Vec<String> = allowed.map(|state| state.name().to_owned()).collect();
    let arguments = [id.into(), request.name().into(), allowed.into()];
    Ok(as_owner(|| sql::one::<i64>(update, &arguments))?.is_some())
}

/// Sets a time before which nothing is done unless a request arrives.
pub fn retry_after(id: i64, time: Duration) -> Result<()> {
    let update = "UPDATE helios.migration SET retry_at = CASE WHEN request IS NULL THEN clock_timestamp() + make_interval(secs => $2) END
                   WHERE id = $1";
    sql::run(update, &[id.into(), time.as_secs_f64().into()])
}

/// Sets whether changes are replicated back to the old copy after the switch.
pub fn set_reverse_channel(id: i64, reverse_channel: bool) -> Result<()> {
    let update = "UPDATE helios.migration SET way_back = $2 WHERE id = $1";
    as_owner(|| sql::run(update, &[id.into(), reverse_channel.into()]))
}

/// Whether the current transaction has started the migration.
pub fn is_own(id: i64) -> Result<bool> {
    let own =
        "SELECT xmin::text = (pg_current_xact_id_if_assigned()::text::numeric % 4294967296)::text
                 FROM helios.migration WHERE id = $1";
    Ok(as_owner(|| sql::read_one::<bool>(own, &[id.into()]))? == Some(true))
}
