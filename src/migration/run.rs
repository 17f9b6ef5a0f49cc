//! The worker of one migration: takes it from state to state until there is nothing to do for now.

use super::backfill;
use super::channel::Channel;
use super::cleanup;
use super::definition;
use super::ends::{Ends, literal};
use super::fence;
use super::plan;
use super::preflight;
use super::record::{self, Migration, MovingTable};
use super::switch::{self, Tried, Way};
use super::tables;
use super::verified;
use crate::directory::{self, NodeId};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::pg::error::notify;
use crate::pg::{lock, sql, worker};
use crate::remote::Session;
use crate::settings;
use helios_core::migration::{State, Wish, back_off};
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::time::{Duration, Instant};

/// The longest pause before a step is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often the lag is looked at while the other copy catches up.
const CATCH_UP_LOOK: Duration = Duration::from_millis(200);
/// Verification begins when a marker arrives within this time.
const NEAR: Duration = Duration::from_millis(500);

/// What a step came to.
enum Next {
    /// The migration is in another state.
    Go,
    /// There is nothing to do until this time is over or something is asked for.
    Rest(Duration),
    /// It is over.
    End,
}

/// Runs a migration until it ends, or waits for its rollback window to end.
pub fn run(work: worker::MigrationWork) {
    let id = work.migration;
    let catalog = worker::attempt(|| Ok(crate::pg::catalog::relation("helios", "migration")));
    let Ok(Some(catalog)) = catalog else { return };
    // One worker at a time, whoever started it.
    if !lock::try_for_session(catalog, id as u32) {
        return;
    }
    let mut held = None;
    loop {
        let migration = match worker::attempt(|| record::load(id)) {
            Ok(migration) => migration,
            Err(error) => return notify(PgLogLevel::LOG, &error),
        };
        match step(&migration, &mut held) {
            Ok(Next::Go) => {}
            Ok(Next::Rest(time)) => return rest(id, time),
            Ok(Next::End) => return,
            Err(error) if !failed(&migration, &error) => return,
            Err(_) => {}
        }
    }
}

fn rest(id: i64, time: Duration) {
    let update = "UPDATE helios.migration SET retry_at = CASE WHEN wish IS NULL THEN clock_timestamp() + make_interval(secs => $2) END
                   WHERE id = $1";
    let noted = worker::attempt(|| sql::run(update, &[id.into(), time.as_secs_f64().into()]));
    if let Err(error) = noted {
        notify(PgLogLevel::LOG, &error);
    }
}

/// Whether the next try may succeed without anybody's help.
fn is_passing(error: &Error) -> bool {
    let codes = [
        Code::ERRCODE_LOCK_NOT_AVAILABLE,
        Code::ERRCODE_OBJECT_IN_USE,
        Code::ERRCODE_TOO_MANY_CONNECTIONS,
        Code::ERRCODE_QUERY_CANCELED,
        Code::ERRCODE_ADMIN_SHUTDOWN,
        Code::ERRCODE_CRASH_SHUTDOWN,
        Code::ERRCODE_CANNOT_CONNECT_NOW,
    ];
    error.is_class("08") || error.is_class("40") || codes.into_iter().any(|code| error.is(code))
}

/// Deals with a step that did not succeed; true if the migration goes on at once.
fn failed(migration: &Migration, error: &Error) -> bool {
    let message = describe(error);
    notify(PgLogLevel::LOG, &error.clone().context(format!("migration {}", migration.id)));
    // The switch may be committed although its step failed in the end.
    let Ok(now) = worker::attempt(|| record::load(migration.id)) else { return false };
    let passing = is_passing(error) || !now.state.is_before_switch();
    let noted = worker::attempt(|| match passing {
        true => {
            let tries = u32::try_from(migration.tries + 1).unwrap_or(1);
            let pause = back_off(tries, Duration::from_millis(250), LONGEST_PAUSE);
            record::postpone(migration.id, &message, pause)
        }
        false => record::end(migration.id, State::Failed, Some(&message)),
    });
    if let Err(error) = &noted {
        notify(PgLogLevel::LOG, error);
    }
    noted.is_ok() && !passing
}

fn describe(error: &Error) -> String {
    let mut text = format!("{error}");
    if let Some(hint) = &error.fields().hint {
        text.push_str(" Hint: ");
        text.push_str(&String::from_utf8_lossy(hint));
    }
    text
}

fn step(migration: &Migration, held: &mut Option<Vec<String>>) -> Result<Next> {
    failpoint::hit(failpoint::MIGRATION_STEP_BEFORE)?;
    match (migration.wish, migration.state) {
        (Some(Wish::Cancel), state) if state.is_before_switch() => {
            return worker::attempt(|| record::end(migration.id, State::Cancelled, None))
                .map(|()| Next::Go);
        }
        (Some(Wish::RollBack), State::DualWriteBack) => return roll_back(migration),
        (Some(Wish::Finish), State::DualWriteBack) => {
            return worker::attempt(|| record::end(migration.id, State::Finished, None))
                .map(|()| Next::Go);
        }
        (Some(Wish::Verify), State::DualWriteBack) => return verify_again(migration),
        _ => {}
    }
    match migration.state {
        State::Planned => planned(migration, held),
        State::DualWrite | State::Backfill => copy(migration),
        State::CatchUp => catch_up(migration),
        State::Verify => verify(migration),
        State::Switch => switch_over(migration),
        State::DualWriteBack => dual_write_back(migration),
        State::Cleanup => clean_up(migration),
        State::Finished | State::RolledBack | State::Cancelled | State::Failed => Ok(Next::End),
    }
}

fn advance(migration: &Migration, state: State) -> Result<Next> {
    worker::attempt(|| record::advance(migration.id, state)).map(|()| Next::Go)
}

fn ends(migration: &Migration) -> Result<Ends> {
    worker::attempt(|| Ends::connect(migration))
}

/// Checks, then the definitions are frozen.
fn planned(migration: &Migration, held: &mut Option<Vec<String>>) -> Result<Next> {
    if !worker::attempt(|| fence::left_old_shard(migration, held))? {
        let what = "waiting for transactions that use the schema as part of its former shard";
        worker::attempt(|| record::note(migration.id, Some(what)))?;
        worker::rest(Duration::from_millis(200));
        return Ok(Next::Go);
    }
    let mut ends = ends(migration)?;
    worker::attempt(|| preflight::check(migration, &mut ends))?;
    failpoint::hit(failpoint::MIGRATION_PUBLISH_BEFORE)?;
    freeze(migration, &mut ends)?;
    let moving = tables::moving(&mut ends.source, &migration.schemas)?;
    worker::attempt(|| {
        for table in moving.iter().filter(|table| table.identity.is_some()) {
            for node in [migration.source, migration.target] {
                record::owe(migration.id, node, "identity", &identity(table))?;
            }
        }
        for node in [migration.source, migration.target] {
            record::owe(migration.id, node, "marker", "")?;
        }
        for schema in &migration.schemas {
            record::owe(
                migration.id,
                migration.target,
                cleanup::copy_kind(migration.target),
                schema,
            )?;
        }
        record::add_tables(migration.id, &moving)
    })?;
    let known = worker::attempt(|| record::tables(migration.id))?;
    ends.source.query("SET lock_timeout = 200")?;
    for table in known.iter().filter(|table| table.identity.is_some()) {
        let full = format!("ALTER TABLE ONLY {} REPLICA IDENTITY FULL", table.qualified());
        ends.source.query(&full)?;
        if migration.target == NodeId::LOCAL {
            ends.target.query(&full)?; // a shell, which no dump will make so
        }
    }
    advance(migration, State::DualWrite)
}

/// The statement that gives a table its replica identity back.
fn identity(table: &MovingTable) -> String {
    let clause = table.identity.as_deref().unwrap_or("DEFAULT");
    format!("ALTER TABLE ONLY {} REPLICA IDENTITY {clause}", table.qualified())
}

/// From here on definitions of the schemas do not change, here and on the source.
fn freeze(migration: &Migration, ends: &mut Ends) -> Result<()> {
    let id = migration.id;
    worker::attempt(|| {
        for node in [NodeId::LOCAL, migration.source, migration.target] {
            record::owe(id, node, "fence", "")?;
        }
        Ok(())
    })?;
    let insert = |schemas: &str| {
        format!(
            "INSERT INTO helios.fence (schema, migration, kind) SELECT s, {id}, 'definition' FROM unnest({schemas}) AS s
             ON CONFLICT (schema) DO NOTHING"
        )
    };
    let schemas = super::ends::names(&migration.schemas);
    worker::attempt(|| {
        sql::run(&insert(&schemas), &[])?;
        directory::changed();
        Ok(())
    })?;
    ends.source.query(&insert(&schemas))?;
    Ok(())
}

/// Publication, slot, definitions, rows, indexes.
fn copy(migration: &Migration) -> Result<Next> {
    let mut ends = ends(migration)?;
    let mut keeper = None;
    make_copy(migration, &mut ends, &mut keeper).map_err(|error| {
        let sessions = [Some(&mut ends.source), Some(&mut ends.target), keeper.as_mut()];
        let lost = sessions.into_iter().flatten().any(|session| session.is_stale());
        match lost {
            // A program that could not connect, a snapshot that is gone with its session: it passes.
            true => Error::new(Code::ERRCODE_CONNECTION_FAILURE, "a node was lost during the copy")
                .detail(error.to_string()),
            false => error,
        }
    })
}

fn make_copy(migration: &Migration, ends: &mut Ends, keeper: &mut Option<Session>) -> Result<Next> {
    backfill::end_stray_copies(migration, &mut ends.target)?;
    let all = worker::attempt(|| record::tables(migration.id))?;
    let open: Vec<&MovingTable> =
        all.iter().filter(|table| table.round.is_none() && table.logged).collect();
    if migration.round == 0 || !open.is_empty() {
        backfill::empty(&mut ends.target, &all)?;
        let (round, channel) = worker::attempt(|| {
            let round = record::next_round(migration.id)?;
            let channel = Channel::forward(migration, round)?;
            channel.owe()?;
            Ok((round, channel))
        })?;
        for earlier in 1..round {
            end_round(migration, ends, earlier, &all)?;
        }
        channel.publish(&mut ends.source, &mut ends.target, &open)?;
        failpoint::hit(failpoint::MIGRATION_SLOT_BEFORE)?;
        worker::attempt(|| {
            record::note(
                migration.id,
                Some("waiting for the transactions that are open on the source"),
            )
        })?;
        // The session keeps the snapshot until it is dropped.
        let (session, snapshot) = worker::attempt(|| channel.slot_with_snapshot())?;
        *keeper = Some(session);
        failpoint::hit(failpoint::MIGRATION_SLOT_AFTER)?;
        worker::attempt(|| definition::before_rows(migration, &mut ends.target, &snapshot))?;
        failpoint::hit(failpoint::MIGRATION_DEFINITION_AFTER)?;
        worker::attempt(|| record::advance(migration.id, State::Backfill))?;
        if !backfill::copy(migration, &mut ends.source, &all, round, &snapshot)? {
            return Ok(Next::Go); // something was asked for
        }
    }
    failpoint::hit(failpoint::MIGRATION_INDEXES_BEFORE)?;
    worker::attempt(|| definition::after_rows(migration, &mut ends.target))?;
    failpoint::hit(failpoint::MIGRATION_INDEXES_AFTER)?;
    advance(migration, State::CatchUp)
}

/// A round that broke off goes on with the tables that it has finished. Changes of the others come with their new round;
/// applied from both they would be there twice.
fn end_round(
    migration: &Migration,
    ends: &mut Ends,
    round: i32,
    tables: &[MovingTable],
) -> Result<()> {
    let channel = worker::attempt(|| Channel::forward(migration, round))?;
    let finished: Vec<&MovingTable> =
        tables.iter().filter(|table| table.round == Some(round)).collect();
    match finished.is_empty() {
        true => cleanup::some(migration, |debt| debt.name == channel.name),
        false => channel.narrow(&mut ends.source, &finished),
    }
}

/// The target follows, until it is near.
fn catch_up(migration: &Migration) -> Result<Next> {
    let mut ends = ends(migration)?;
    failpoint::hit(failpoint::MIGRATION_SUBSCRIBE_BEFORE)?;
    let channels = switch::channels(migration, Way::There)?;
    for channel in &channels {
        worker::attempt(|| channel.subscribe(&mut ends.target, true))?;
    }
    failpoint::hit(failpoint::MIGRATION_SUBSCRIBE_AFTER)?;
    for channel in &channels {
        loop {
            let lag = channel.lag(&mut ends.source)?;
            worker::attempt(|| record::lag(migration.id, lag))?;
            let token = channel.mark(&mut ends.source)?;
            if channel.arrived(&mut ends.target, token, Instant::now() + NEAR)? {
                break;
            }
            worker::attempt(|| channel.check_applies(&mut ends.target))?;
            if worker::attempt(|| record::load(migration.id))?.wish.is_some() {
                return Ok(Next::Go);
            }
            worker::rest(CATCH_UP_LOOK);
        }
    }
    link_tables(migration, &mut ends)?;
    ends.target.query("SET maintenance_work_mem = '256MB'")?;
    for view in tables::materialized_views(&mut ends.source, &migration.schemas)? {
        ends.target.query(&format!("REFRESH MATERIALIZED VIEW {view}"))?;
    }
    // The new copy is to be planned for as the old one was.
    for table in worker::attempt(|| record::tables(migration.id))? {
        ends.target.query(&format!("ANALYZE {}", table.qualified()))?;
    }
    advance(migration, State::Verify)
}

/// Foreign keys of tables that were copied in several rounds. These follow by subscriptions of their own, so that for
/// moments a row may be there without the one that it needs.
fn link_tables(migration: &Migration, ends: &mut Ends) -> Result<()> {
    const TRIES: u32 = 50;
    for _ in 1..TRIES {
        match worker::attempt(|| definition::foreign_keys(migration, &mut ends.target)) {
            Err(error) if error.is(Code::ERRCODE_FOREIGN_KEY_VIOLATION) => {
                worker::rest(CATCH_UP_LOOK);
            }
            result => return result,
        }
    }
    worker::attempt(|| definition::foreign_keys(migration, &mut ends.target))
}

fn verify(migration: &Migration) -> Result<Next> {
    let mut ends = ends(migration)?;
    failpoint::hit(failpoint::MIGRATION_VERIFY_BEFORE)?;
    persist(migration, || verified::compare(migration, &mut ends, Way::There), State::Switch)
}

/// Tries until it succeeds, with growing pauses in which nobody waits.
fn persist(
    migration: &Migration,
    mut attempt: impl FnMut() -> Result<Tried>,
    then: State,
) -> Result<Next> {
    let began = Instant::now();
    let mut tries = 0;
    loop {
        let reason = match attempt()? {
            Tried::Done => {
                return match then {
                    State::Switch => advance(migration, then),
                    _ => Ok(Next::Go),
                };
            }
            Tried::Busy(reason) => reason,
        };
        tries += 1;
        worker::attempt(|| record::note(migration.id, Some(&reason)))?;
        let late =
            began.elapsed().as_millis() > settings::SWITCH_TIMEOUT.get().unsigned_abs().into();
        let most = Duration::from_secs(if late { 15 } else { 2 });
        let until = Instant::now() + back_off(tries, Duration::from_millis(50), most);
        while Instant::now() < until {
            worker::rest(
                until.saturating_duration_since(Instant::now()).min(Duration::from_millis(200)),
            );
            let now = worker::attempt(|| record::load(migration.id))?;
            if now.wish != migration.wish || now.state != migration.state {
                return Ok(Next::Go);
            }
        }
    }
}

fn switch_over(migration: &Migration) -> Result<Next> {
    let oldest = f64::from(settings::VERIFY_MAX_AGE.get());
    if migration.verified.is_none_or(|age| age > oldest) {
        return advance(migration, State::Verify);
    }
    let mut ends = ends(migration)?;
    switch::prepare_back(migration, &mut ends)?;
    persist(migration, || switch::attempt(migration, &mut ends, Way::There), State::DualWriteBack)
}

/// Changes flow back, until the window ends.
fn dual_write_back(migration: &Migration) -> Result<Next> {
    let back = worker::attempt(|| Channel::back(migration))?;
    // The way there is closed first: what flows back must not come round again.
    let way_there = |debt: &record::Debt| {
        matches!(debt.kind.as_str(), "subscription" | "slot" | "publication")
            && debt.name != back.name
    };
    cleanup::some(migration, way_there)?;
    failpoint::hit(failpoint::MIGRATION_REVERSE_BEFORE)?;
    let mut ends = ends(migration)?;
    back.enable(&mut ends.source)?;
    failpoint::hit(failpoint::MIGRATION_REVERSE_AFTER)?;
    let lag = back.lag(&mut ends.target)?;
    worker::attempt(|| record::lag(migration.id, lag))?;
    worker::attempt(|| record::note(migration.id, None))?;
    let window = Duration::from_secs(settings::ROLLBACK_WINDOW.get().unsigned_abs().into());
    let since = Duration::try_from_secs_f64(migration.switched.unwrap_or(0.0)).unwrap_or_default();
    match window.checked_sub(since) {
        Some(left) if !left.is_zero() => Ok(Next::Rest(left)),
        _ => {
            worker::attempt(|| record::end(migration.id, State::Finished, None)).map(|()| Next::Go)
        }
    }
}

/// Compares the copies because someone asked; a difference is what was asked for, not a failure.
fn verify_again(migration: &Migration) -> Result<Next> {
    dual_write_back(migration)?;
    let mut ends = ends(migration)?;
    let mut compare = || match verified::compare(migration, &mut ends, Way::Back) {
        Err(error) if error.is(Code::ERRCODE_DATA_CORRUPTED) => Ok(Tried::Done),
        result => result,
    };
    persist(migration, &mut compare, State::DualWriteBack)?;
    worker::attempt(|| record::fulfil(migration.id, Wish::Verify)).map(|()| Next::Go)
}

fn roll_back(migration: &Migration) -> Result<Next> {
    let mut ends = ends(migration)?;
    let back = worker::attempt(|| Channel::back(migration))?;
    back.enable(&mut ends.source)?;
    persist(migration, || switch::attempt(migration, &mut ends, Way::Back), State::Cleanup)
}

fn clean_up(migration: &Migration) -> Result<Next> {
    cleanup::all(migration)?;
    let outcome = migration.outcome.unwrap_or(State::Failed);
    worker::attempt(|| {
        sql::run(
            "DELETE FROM helios.migration_table WHERE migration = $1",
            &[migration.id.into()],
        )?;
        directory::set_moving(migration.shard, false)?;
        plan::settle(migration, outcome)?;
        record::advance(migration.id, outcome)
    })?;
    let line = format!(
        "migration {} of {} is over: {outcome}",
        migration.id,
        literal(&migration.schemas.join(", "))
    );
    notify(PgLogLevel::LOG, &Error::new(Code::ERRCODE_SUCCESSFUL_COMPLETION, line));
    Ok(Next::End)
}
