//! The states from `planned` to a second copy that follows the first.

use super::outcome::{StepOutcome, advance, connect};
use crate::catalog::migration::{self, Migration};
use crate::catalog::migration_table::{self, MovingTable};
use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::migration::cleanup;
use crate::migration::definition;
use crate::migration::direction::{self, Direction};
use crate::migration::import::guard;
use crate::migration::kind::Kind;
use crate::migration::kind::target_has_definition;
use crate::migration::preflight;
use crate::migration::start;
use crate::pg::ipc::worker;
use crate::pg::session::sql;
use crate::remote::Session;
use crate::replication::backfill;
use crate::replication::channel::{self, Channel};
use crate::replication::endpoint::Endpoint;
use crate::replication::endpoints::{Endpoints, flag, text};
use crate::replication::fence;
use crate::replication::foreign_server;
use crate::replication::interruptible::{self, Interruptible};
use crate::replication::source_catalogs;
use helios_core::migration::State;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::time::{Duration, Instant};

/// Pause between two checks of the lag while the other copy catches up.
const CATCH_UP_POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Pause between two checks for transactions that are still open.
const DRAIN_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Lock timeout, in milliseconds, for statements that others would queue behind.
const LOCK_TIMEOUT: u32 = 200;
/// Progress message while transactions on the source are waited for.
const WAITING: &str = "waiting for open transactions on the source";
/// Verification begins when a marker arrives within this time.
const NEAR: Duration = Duration::from_millis(500);

/// State `planned`: checks both ends, then freezes the definitions.
pub fn planned(
    migration: &Migration,
    old_holders: &mut Option<Vec<String>>,
) -> Result<StepOutcome> {
    if !worker::attempt(|| fence::has_left_old_shard(migration, old_holders))? {
        let what = "waiting for transactions that use the schema through its former shard";
        worker::attempt(|| migration::note(migration.id, Some(what)))?;
        worker::sleep(Duration::from_millis(200));
        return Ok(StepOutcome::Continue);
    }
    let mut endpoints = connect(migration)?;
    let kind = Kind::of(migration);
    let check_names = || match kind {
        Kind::Import => Ok(()),
        Kind::Move | Kind::Distribute | Kind::Undistribute | Kind::Replica => {
            start::check_still_there(migration)
        }
    };
    worker::attempt(|| check_names().and_then(|()| preflight::check(migration, &mut endpoints)))?;
    failpoint::hit(failpoint::MIGRATION_PUBLISH_BEFORE)?;
    freeze(migration, &mut endpoints)?;
    if drain(migration, &mut endpoints.source)?.is_interrupted()
        || preflight::check_room(migration, &mut endpoints)?.is_interrupted()
    {
        return Ok(StepOutcome::Continue);
    }
    preflight::check_again(migration, &mut endpoints)?;
    let moving = source_catalogs::moving(&mut endpoints.source, &migration.schemas)?;
    worker::attempt(|| {
        for table in moving.iter().filter(|table| table.identity.is_some()) {
            // During an import, the tables' current definition is used for shells.
            let here = (kind == Kind::Import).then_some(NodeId::LOCAL);
            for node in [migration.source, migration.target].into_iter().chain(here) {
                catalog::cleanup::add(migration.id, node, "identity", &identity(table))?;
            }
        }
        for node in [migration.source, migration.target] {
            if !Endpoint::of(node).is_foreign() {
                catalog::cleanup::add(migration.id, node, "marker", "")?;
            }
        }
        for schema in &migration.schemas {
            let item = cleanup::copy_kind(migration, migration.target);
            catalog::cleanup::add(migration.id, migration.target, item, schema)?;
        }
        if kind == Kind::Replica {
            catalog::replica::share_identities(migration)?;
        }
        migration_table::add(migration.id, &moving)
    })?;
    let known = worker::attempt(|| migration_table::of_migration(migration.id))?;
    let nameless: Vec<_> = known.iter().filter(|table| table.identity.is_some()).collect();
    briefly(&mut endpoints.source, |source| name_by_all_columns(source, &nameless))?;
    if target_has_definition(migration) {
        // Not for shells, which no dump will restore.
        briefly(&mut endpoints.target, |target| name_by_all_columns(target, &nameless))?;
    }
    advance(migration, State::DualWrite)
}

/// Does work that requires locks on tables in use. Statements queue behind the lock request, so it times out soon; the
/// migration retries later.
fn briefly(session: &mut Session, work: impl FnOnce(&mut Session) -> Result<()>) -> Result<()> {
    session.query(&format!("SET lock_timeout = {LOCK_TIMEOUT}"))?;
    work(session).map_err(|error| match error.is(Code::ERRCODE_LOCK_NOT_AVAILABLE) {
        true => Error::new(
            Code::ERRCODE_LOCK_NOT_AVAILABLE,
            "waiting for transactions that use tables of the schema",
        )
        .hint("See pg_locks. The migration keeps retrying."),
        false => error,
    })?;
    session.query("SET lock_timeout = 0").map(|_| ())
}

/// Sets REPLICA IDENTITY FULL on tables without a key.
fn name_by_all_columns(session: &mut Session, tables: &[&MovingTable]) -> Result<()> {
    tables.iter().try_for_each(|table| {
        let full = format!("ALTER TABLE ONLY {} REPLICA IDENTITY FULL", table.qualified());
        session.query(&full).map(|_| ())
    })
}

/// Statement that restores a table's replica identity.
fn identity(table: &MovingTable) -> String {
    let clause = table.identity.as_deref().unwrap_or("DEFAULT");
    format!("ALTER TABLE ONLY {} REPLICA IDENTITY {clause}", table.qualified())
}

/// Freezes the definitions of the schemas on the coordinator and on the source.
fn freeze(migration: &Migration, endpoints: &mut Endpoints) -> Result<()> {
    let (id, kind) = (migration.id, Kind::of(migration));
    worker::attempt(|| match kind {
        Kind::Import => {
            // The fence on the coordinator is removed with the end of the migration, in the transaction of the schema's
            // final change.
            if Endpoint::of(migration.target) != Endpoint::Local {
                catalog::cleanup::add(id, migration.target, "fence", "")?;
            }
            let own = foreign_server::own_schema(id)?;
            catalog::cleanup::add(id, migration.source, "import", &own)?;
            catalog::cleanup::add(id, migration.target, "import", &own)
        }
        Kind::Move | Kind::Distribute | Kind::Undistribute | Kind::Replica => {
            [NodeId::LOCAL, migration.source, migration.target]
                .into_iter()
                .try_for_each(|node| catalog::cleanup::add(id, node, "fence", ""))
        }
    })?;
    let fence = catalog::remote_sql::fence_definitions(migration);
    worker::attempt(|| sql::run(&fence, &[]))?;
    match kind {
        Kind::Import => worker::attempt(|| guard::put(migration, endpoints)),
        Kind::Move | Kind::Distribute | Kind::Undistribute | Kind::Replica => {
            endpoints.source.query(&fence).map(|_| ())
        }
    }
}

/// Waits for the transactions that were open on the source when definitions were frozen: one of them may have created a
/// table that is not visible yet.
fn drain(migration: &Migration, source: &mut Session) -> Result<Interruptible> {
    let next = source.query("SELECT txid_snapshot_xmax(txid_current_snapshot())")?;
    let next = next.first().map(|row| text(row, 0)).unwrap_or_default();
    let ended = format!("SELECT txid_snapshot_xmin(txid_current_snapshot()) >= {next}");
    loop {
        if source.query(&ended)?.first().is_some_and(|row| flag(row, 0)) {
            return Ok(Interruptible::Completed(()));
        }
        worker::attempt(|| migration::note(migration.id, Some(WAITING)))?;
        if worker::attempt(|| migration::load(migration.id))?.request != migration.request {
            return Ok(Interruptible::Interrupted);
        }
        worker::sleep(DRAIN_POLL_INTERVAL);
    }
}

/// States `dual_write` and `backfill`: publication, slot, definitions, rows, indexes.
pub fn copy(migration: &Migration) -> Result<StepOutcome> {
    let mut endpoints = connect(migration)?;
    let mut keeper = None;
    make_copy(migration, &mut endpoints, &mut keeper).map_err(|error| {
        let sessions = [Some(&mut endpoints.source), Some(&mut endpoints.target), keeper.as_mut()];
        let lost = sessions.into_iter().flatten().any(|session| session.is_stale());
        match lost {
            // Transient: pg_dump could not connect, or its snapshot is gone with the session.
            true => Error::new(Code::ERRCODE_CONNECTION_FAILURE, "a node was lost during the copy")
                .detail(error.to_string()),
            false => error,
        }
    })
}

fn make_copy(
    migration: &Migration,
    endpoints: &mut Endpoints,
    keeper: &mut Option<Session>,
) -> Result<StepOutcome> {
    backfill::end_stray_copies(migration, &mut endpoints.target)?;
    let all = worker::attempt(|| migration_table::of_migration(migration.id))?;
    let open: Vec<&MovingTable> =
        all.iter().filter(|table| table.round.is_none() && table.logged).collect();
    let mut rounds = migration.round;
    if migration.state == State::DualWrite || !open.is_empty() {
        briefly(&mut endpoints.target, |target| {
            if target_has_definition(migration) {
                definition::disable_shell_triggers(migration, target)?;
            }
            backfill::empty(target, &all)
        })?;
        let (round, channels) = worker::attempt(|| {
            let round = migration::next_round(migration.id)?;
            let parts = channel::parts(open.iter().copied());
            let channels: Vec<_> = parts
                .into_iter()
                .map(|part| Channel::forward(migration, round, part))
                .collect::<Result<_>>()?;
            channels.iter().try_for_each(Channel::note_cleanup)?;
            Ok((round, channels))
        })?;
        rounds = round;
        for earlier in 1..round {
            end_round(migration, endpoints, earlier, &all)?;
        }
        for channel in &channels {
            channel.publish(&mut endpoints.source, &mut endpoints.target, &open)?;
        }
        failpoint::hit(failpoint::MIGRATION_SLOT_BEFORE)?;
        worker::attempt(|| migration::note(migration.id, Some(WAITING)))?;
        // The session holds the snapshot until it is dropped.
        let session = worker::attempt(|| Endpoint::of(migration.source).replication_session())?;
        let session = keeper.insert(session);
        let Some((first, others)) = channels.split_first() else {
            return Ok(StepOutcome::Continue);
        };
        let Interruptible::Completed(snapshot) = first.slot_with_snapshot(migration, session)?
        else {
            return Ok(StepOutcome::Continue);
        };
        others.iter().try_for_each(|channel| channel.slot_like(first, &mut endpoints.source))?;
        failpoint::hit(failpoint::MIGRATION_SLOT_AFTER)?;
        let target = &mut endpoints.target;
        if definition::before_rows(migration, target, &snapshot)?.is_interrupted() {
            return Ok(StepOutcome::Continue);
        }
        failpoint::hit(failpoint::MIGRATION_DEFINITION_AFTER)?;
        worker::attempt(|| migration::advance(migration.id, State::Backfill))?;
        if backfill::copy(migration, endpoints, &all, round, &snapshot)?.is_interrupted() {
            return Ok(StepOutcome::Continue);
        }
    }
    failpoint::hit(failpoint::MIGRATION_INDEXES_BEFORE)?;
    if definition::after_rows(migration, rounds, &mut endpoints.target)?.is_interrupted() {
        return Ok(StepOutcome::Continue);
    }
    failpoint::hit(failpoint::MIGRATION_INDEXES_AFTER)?;
    advance(migration, State::CatchUp)
}

/// After an interrupted round, the tables that it completed are kept. Changes of the others come with their next round;
/// applied from both rounds they would be duplicates.
fn end_round(
    migration: &Migration,
    endpoints: &mut Endpoints,
    round: i32,
    tables: &[MovingTable],
) -> Result<()> {
    let finished: Vec<&MovingTable> =
        tables.iter().filter(|table| table.round == Some(round)).collect();
    for part in channel::parts(tables.iter()) {
        let channel = worker::attempt(|| Channel::forward(migration, round, part))?;
        match finished.iter().any(|table| table.part == part) {
            true => channel.narrow(&mut endpoints.source, &finished)?,
            false => cleanup::some(migration, |item| item.name == channel.name)?,
        }
    }
    Ok(())
}

/// State `catch_up`: the target follows until its lag is small.
pub fn catch_up(migration: &Migration) -> Result<StepOutcome> {
    let mut endpoints = connect(migration)?;
    failpoint::hit(failpoint::MIGRATION_SUBSCRIBE_BEFORE)?;
    let channels = direction::channels(migration, Direction::Forward)?;
    for channel in &channels {
        worker::attempt(|| channel.subscribe(&mut endpoints.target, true))?;
    }
    failpoint::hit(failpoint::MIGRATION_SUBSCRIBE_AFTER)?;
    for channel in &channels {
        loop {
            let lag = channel.lag(&mut endpoints.source)?;
            worker::attempt(|| migration::lag(migration.id, lag))?;
            let token = channel.mark(&mut endpoints.source)?;
            if channel.arrived(&mut endpoints.target, token, Instant::now() + NEAR)? {
                break;
            }
            worker::attempt(|| channel.check_applies(&mut endpoints.target))?;
            if worker::attempt(|| migration::load(migration.id))?.request.is_some() {
                return Ok(StepOutcome::Continue);
            }
            worker::sleep(CATCH_UP_POLL_INTERVAL);
        }
    }
    if link_tables(migration, &mut endpoints)?.is_interrupted() {
        return Ok(StepOutcome::Continue);
    }
    for view in source_catalogs::materialized_views(&mut endpoints.source, &migration.schemas)? {
        let refresh = format!("REFRESH MATERIALIZED VIEW {view}");
        if interruptible::query(migration, &mut endpoints.target, &refresh)?.is_interrupted() {
            return Ok(StepOutcome::Continue);
        }
    }
    // The new copy needs statistics before it is used.
    for table in worker::attempt(|| migration_table::of_migration(migration.id))? {
        let analyse = format!("ANALYZE {}", table.qualified());
        if interruptible::query(migration, &mut endpoints.target, &analyse)?.is_interrupted() {
            return Ok(StepOutcome::Continue);
        }
    }
    advance(migration, State::Verify)
}

/// Creates foreign keys of tables that were copied in several rounds. These tables have separate subscriptions, so a row may
/// temporarily be present without the row it references.
fn link_tables(migration: &Migration, endpoints: &mut Endpoints) -> Result<Interruptible> {
    const TRIES: u32 = 50;
    for _ in 1..TRIES {
        match definition::foreign_keys(migration, &mut endpoints.target) {
            Err(error) if error.is(Code::ERRCODE_FOREIGN_KEY_VIOLATION) => {
                worker::sleep(CATCH_UP_POLL_INTERVAL);
            }
            result => return result,
        }
    }
    definition::foreign_keys(migration, &mut endpoints.target)
}
