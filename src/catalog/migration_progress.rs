//! Changes of rows of `helios.migration`: states, requests, and how far each is.

use super::as_owner;
use super::tables::MigrationProgressRow;
use crate::error::Result;
use crate::pg::catalog::table::Table;
use crate::pg::session::sql;
use helios_core::migration::{Request, State};
use pgrx::pg_sys::Oid;
use std::time::Duration;

/// Enters a state, and forgets the troubles on the way to it.
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

/// Goes to clean-up, with what is to follow it.
pub fn end(id: i64, outcome: State, error: Option<&str>) -> Result<()> {
    let update = "UPDATE helios.migration SET state = 'cleanup', outcome = $2, wish = NULL, error = $3, tries = 0, retry_at = NULL
                   WHERE id = $1";
    sql::run("DELETE FROM helios.replica WHERE migration = $1", &[id.into()])?;
    sql::run(update, &[id.into(), outcome.name().into(), error.into()])
}

/// Notes why a step did not succeed, and when it is tried again.
pub fn postpone(id: i64, error: &str, pause: Duration) -> Result<()> {
    let update = "UPDATE helios.migration SET error = $2, tries = tries + 1,
                         retry_at = clock_timestamp() + make_interval(secs => $3) WHERE id = $1";
    sql::run(update, &[id.into(), error.into(), pause.as_secs_f64().into()])
}

/// Notes what a migration waits for; None when it waits no more.
pub fn note(id: i64, what: Option<&str>) -> Result<()> {
    let update =
        "UPDATE helios.migration SET error = $2 WHERE id = $1 AND error IS DISTINCT FROM $2";
    sql::run(update, &[id.into(), what.into()])
}

/// Notes how far the copy is.
pub fn progress(id: i64, rows: u64, bytes: u64) -> Result<()> {
    let update = "UPDATE helios.migration SET rows_done = $2, rows_total = greatest(rows_total, $2), bytes_done = $3 WHERE id = $1";
    sql::run(update, &[id.into(), (rows as i64).into(), (bytes as i64).into()])
}

/// Notes by how many bytes of the log the other copy is behind.
pub fn lag(id: i64, bytes: i64) -> Result<()> {
    sql::run("UPDATE helios.migration SET lag = $2 WHERE id = $1", &[id.into(), bytes.into()])
}

/// Notes how long a fence stood.
pub fn stalled(id: i64, time: Duration) -> Result<()> {
    let update = "UPDATE helios.migration SET stall = greatest(stall, $2) WHERE id = $1";
    sql::run(update, &[id.into(), (time.as_secs_f64() * 1000.0).into()])
}

/// Notes which servers source and target are, when that is known first.
pub fn histories(id: i64, now: &[String]) -> Result<()> {
    let update = "UPDATE helios.migration SET histories = $2 WHERE id = $1 AND histories IS NULL";
    as_owner(|| sql::run(update, &[id.into(), now.to_vec().into()]))
}

/// Begins another round; gives its number.
pub fn next_round(id: i64) -> Result<i32> {
    let update = "UPDATE helios.migration SET round = round + 1 WHERE id = $1 RETURNING round";
    Ok(sql::one::<i32>(update, &[id.into()])?.unwrap_or(0))
}

/// Takes a request back that has come true.
pub fn clear_request(id: i64, request: Request) -> Result<()> {
    let update = "UPDATE helios.migration SET wish = NULL WHERE id = $1 AND wish = $2";
    sql::run(update, &[id.into(), request.name().into()])
}

/// The OID of `helios.migration`, whose objects the workers' locks are taken on.
pub fn catalog() -> Option<Oid> {
    Table::<MigrationProgressRow>::find("").map(Table::oid)
}

/// Asks something of a migration, whatever its state.
pub fn submit(id: i64, request: Request) -> Result<()> {
    let update = "UPDATE helios.migration SET wish = $2, retry_at = NULL WHERE id = $1";
    sql::run(update, &[id.into(), request.name().into()])
}

/// Asks something of a migration that moves, if its state allows that; false if it does not. A state that changes
/// meanwhile is seen.
pub fn submit_if_allowed(id: i64, request: Request) -> Result<bool> {
    let update = "UPDATE helios.migration SET wish = $2, retry_at = NULL
                   WHERE id = $1 AND state = ANY ($3) AND NOT keeps RETURNING id";
    let allowed = State::ALL.into_iter().filter(|state| state.allows(request));
    let allowed: Vec<String> = allowed.map(|state| state.name().to_owned()).collect();
    let arguments = [id.into(), request.name().into(), allowed.into()];
    Ok(as_owner(|| sql::one::<i64>(update, &arguments))?.is_some())
}

/// Says that nothing is to be tried for a time, unless something is asked.
pub fn rest(id: i64, time: Duration) -> Result<()> {
    let update = "UPDATE helios.migration SET retry_at = CASE WHEN wish IS NULL THEN clock_timestamp() + make_interval(secs => $2) END
                   WHERE id = $1";
    sql::run(update, &[id.into(), time.as_secs_f64().into()])
}

/// Says whether writes are to flow back to the old copy after the switch.
pub fn set_reverse_channel(id: i64, reverse_channel: bool) -> Result<()> {
    let update = "UPDATE helios.migration SET way_back = $2 WHERE id = $1";
    as_owner(|| sql::run(update, &[id.into(), reverse_channel.into()]))
}

/// Whether the current transaction has begun the migration.
pub fn is_own(id: i64) -> Result<bool> {
    let own =
        "SELECT xmin::text = (pg_current_xact_id_if_assigned()::text::numeric % 4294967296)::text
                 FROM helios.migration WHERE id = $1";
    Ok(as_owner(|| sql::read_one::<bool>(own, &[id.into()]))? == Some(true))
}
