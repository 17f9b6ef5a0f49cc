//! Requests to migrations in progress, and waiting for them.

use crate::catalog::migration::{self, Progress};
use crate::catalog::own_session::ComparedTable;
use crate::catalog::{self, own_session};
use crate::error::{Error, Result};
use crate::migration::kind::Kind;
use crate::pg::error::notify;
use crate::pg::ipc::wait;
use crate::replication::endpoint::Endpoint;
use helios_core::migration::{Request, State};
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::time::{Duration, Instant};

/// How often a waiting session polls.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Interval between progress reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Submits a request to a migration; its worker acts on it after the transaction has committed.
///
/// 42704 if the migration does not exist, 55000 if its state does not allow the request.
pub fn submit(id: i64, request: Request) -> Result<()> {
    if !migration::submit_if_allowed(id, request)? {
        let state = match migration::progress_of(id)? {
            Some(progress) => progress.state,
            None => migration::load(id)?.state,
        };
        if !state.is_last() && Kind::of(&migration::load(id)?) == Kind::Replica {
            return Err(refused_copy(id));
        }
        return Err(refused(id, state, request));
    }
    catalog::changed(); // wakes the workers at commit
    Ok(())
}

/// Replicas are managed by the number of copies wanted.
fn refused_copy(id: i64) -> Error {
    Error::new(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("migration {id} maintains a replica"),
    )
    .hint("Use helios_set_replicas() to remove replicas, or helios_promote_replica() to switch to one.")
}

fn refused(id: i64, state: State, request: Request) -> Error {
    let (verb, hint) = match (request, state) {
        (Request::Cancel, State::DualWriteBack) => {
            ("cancelled", "It has already switched. Use helios_rollback_migration() to undo it.")
        }
        (Request::Cancel, _) => ("cancelled", "Its outcome can no longer be changed."),
        (Request::RollBack, state) if state.is_before_switch() => {
            ("rolled back", "It has not switched yet. Use helios_cancel_migration() to stop it.")
        }
        (Request::RollBack, _) => (
            "rolled back",
            "To move the schemas back, use helios_migrate_schema() or helios_migrate_shard().",
        ),
        (Request::Finish, state) if state.is_before_switch() => {
            ("finished", "It has not switched yet. Use helios_wait_for_migration() to wait for it.")
        }
        (Request::Verify, state) if state.is_before_switch() => {
            ("verified", "The migration compares the copies itself before it switches.")
        }
        (Request::Verify, _) => ("verified", "The old copy has been removed or is being removed."),
        (Request::Finish, _) => ("finished", "Its cleanup is in progress or complete."),
        (Request::Promote, _) => ("promoted", "Use helios_promote_replica() to promote a replica."),
    };
    Error::new(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("migration {id} cannot be {verb}"),
    )
    .detail(format!("The migration is in state \"{state}\"."))
    .hint(hint)
}

/// Waits until a migration has switched (or been rolled back) or ended, reports progress, and returns its state.
///
/// 57014 on timeout, 55000 if the migration was started by the waiting transaction.
pub fn wait(id: i64, timeout: Option<Duration>) -> Result<State> {
    migration::load(id)?;
    refuse_own(id)?;
    let until = timeout.map(|timeout| Instant::now() + timeout);
    let (mut reported, mut last) = (None, None);
    loop {
        let Some(progress) = migration::progress_of(id)? else {
            return Ok(migration::load(id)?.state);
        };
        let rests = matches!(progress.state, State::InStep | State::DualWriteBack);
        let settled = rests && !progress.has_request;
        if settled || progress.state.is_last() {
            return Ok(progress.state);
        }
        if last != Some(progress.state)
            || reported.is_none_or(|reported: Instant| reported.elapsed() > REPORT_INTERVAL)
        {
            (last, reported) = (Some(progress.state), Some(Instant::now()));
            report_progress(id, &progress);
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Err(Error::new(
                Code::ERRCODE_QUERY_CANCELED,
                format!("timed out waiting for migration {id}"),
            )
            .detail(format!("The migration is in state \"{}\".", progress.state))
            .hint("The migration continues. The view helios_migrations shows its progress."));
        }
        wait::for_any(&[], POLL_INTERVAL);
    }
}

/// Lets the worker of a schema's migration compare the two copies, and waits for the result.
///
/// 42704 if the schema does not have two copies, 55000 if the migration's state does not allow it.
pub fn verify(schema: &str) -> Result<Vec<ComparedTable>> {
    let id = migration::with_second_copy(schema)?.ok_or_else(|| {
        Error::new(
            Code::ERRCODE_UNDEFINED_OBJECT,
            format!("schema \"{schema}\" does not have a second copy"),
        )
        .hint(
            "A schema has a second copy until its migration is finished, or while it has replicas.",
        )
    })?;
    let state = migration::load(id)?.state;
    if !state.allows(Request::Verify) {
        return Err(refused(id, state, Request::Verify));
    }
    // Use a separate transaction, which the worker can see while this one waits.
    let mut session = Endpoint::Local.session()?;
    let began = crate::pg::session::clock();
    session.query(&own_session::submit(id, Request::Verify))?;
    crate::shared::worker_slots::wake(crate::pg::session::database_id());
    while migration::progress_of(id)?
        .is_some_and(|progress| progress.has_request && progress.state.allows(Request::Verify))
    {
        wait::for_any(&[], POLL_INTERVAL);
    }
    session.query(&ComparedTable::since(id, began))?.iter().map(ComparedTable::read).collect()
}

fn report_progress(id: i64, progress: &Progress) {
    let mut line = format!("migration {id}: {}", progress.state);
    if progress.state == State::Backfill {
        line.push_str(&format!(
            ", {} of about {} rows copied",
            progress.rows_done, progress.rows_total
        ));
    }
    if let Some(error) = &progress.error {
        line.push_str(&format!(" ({error})"));
    }
    notify(PgLogLevel::NOTICE, &Error::new(Code::ERRCODE_SUCCESSFUL_COMPLETION, line));
}

fn refuse_own(id: i64) -> Result<()> {
    if !migration::is_own(id)? {
        return Ok(());
    }
    Err(Error::new(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("migration {id} does not start before this transaction commits"),
    )
    .hint("COMMIT, then wait."))
}
