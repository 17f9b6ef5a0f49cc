//! The change of the copy that clients use, there and back.

use super::cleanup;
use super::code::Code as TenantCode;
use super::definition::{self, TriggerTurns};
use super::import::{guard, shells};
use crate::catalog::migration::{self, Migration};
use crate::catalog::migration_table::{self, MovingTable};
use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::pg::hooks::invalidation;
use crate::pg::ipc::worker;
use crate::remote::Session;
use crate::replication::backfill;
use crate::replication::channel::{self, Channel};
use crate::replication::endpoints::{self, Ends, literal};
use crate::replication::fence::{self, Fence, KeepOut};
use crate::replication::tables::{self, Lockable};
use helios_core::migration::State;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::time::Duration;

/// What a migration says while the slot of its way back is made.
const WAITING: &str = "waiting for the transactions that are open on the target";

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the new copy.
    There,
    /// Back to the old one.
    Back,
}

/// What a try came to.
pub enum Tried<T> {
    /// It succeeded.
    Done(T),
    /// Somebody is in the way.
    Busy(String),
}

/// What was prepared before the fence, so that little is left to do behind it.
struct Prepared {
    from: NodeId,
    to: NodeId,
    channels: Vec<Channel>,
    /// The channels that flow the other way from then on.
    back: Vec<Channel>,
    lockable: Vec<Lockable>,
    positions: Vec<(String, String, bool)>,
    triggers: TriggerTurns,
    /// The definition of what becomes a shell here with the switch.
    shells: Option<(shells::Definition, TenantCode)>,
}

/// Tries once.
pub fn attempt(migration: &Migration, ends: &mut Ends, way: Way) -> Result<Tried<()>> {
    let (from, _) = direction(migration, way);
    if from.is_outside() {
        // Closed by a try that did not come to its end.
        worker::attempt(|| guard::open(migration, &mut ends.source))?;
    }
    let keep_out = if from == NodeId::LOCAL { KeepOut::Everybody } else { KeepOut::Writers };
    let obstacle =
        worker::attempt(|| fence::in_the_way(migration, ends.to(from, migration), keep_out))?;
    if let Some(obstacle) = obstacle {
        return Ok(Tried::Busy(obstacle));
    }
    let prepared = prepare(migration, ends, way)?;
    let mut outside = locker(from)?;
    failpoint::hit(failpoint::MIGRATION_SWITCH_BEFORE)?;
    let mut stood = Duration::ZERO;
    let result = worker::attempt(|| {
        if let Some((shells, code)) = &prepared.shells {
            shells::make(migration, shells, code)?;
        }
        let tables = (&prepared.lockable[..], keep_out);
        let fence = Fence::raise(migration, from, tables, outside.as_mut())?;
        let outcome = behind_fence(migration, ends, way, &prepared, &fence);
        stood = fence.stood();
        outcome?;
        // The one copy is closed before the other is open.
        match &mut outside {
            Some(session) => {
                let TriggerTurns { silence, unforce, .. } = &prepared.triggers;
                // Without a way back nothing is applied to it.
                let unforce = unforce.iter().filter(|_| migration.way_back);
                let all: Vec<_> = silence.iter().chain(unforce).cloned().collect();
                guard::close(migration, session, &all)?;
                failpoint::hit(failpoint::MIGRATION_IMPORT_CLOSED)
            }
            None => Ok(()),
        }
    });
    if result.is_err() && from.is_outside() {
        drop(outside); // what it has not committed is open again
        worker::attempt(|| match migration::load(migration.id)?.state.is_before_switch() {
            true => guard::open(migration, &mut ends.source),
            false => Ok(()),
        })?;
    }
    if stood > Duration::ZERO {
        worker::attempt(|| migration::stalled(migration.id, stood))?;
    }
    match result {
        Ok(()) => {
            failpoint::hit(failpoint::MIGRATION_SWITCH_AFTER)?;
            Ok(Tried::Done(()))
        }
        Err(error) if fence::is_busy(&error) => Ok(Tried::Busy(error.to_string())),
        Err(error) => Err(error),
    }
}

/// The session that locks tables where our transactions do not reach.
fn locker(from: NodeId) -> Result<Option<Session>> {
    from.is_outside().then(|| worker::attempt(|| endpoints::session(from))).transpose()
}

fn direction(migration: &Migration, way: Way) -> (NodeId, NodeId) {
    match way {
        Way::There => (migration.source, migration.target),
        Way::Back => (migration.target, migration.source),
    }
}

/// The channels in which changes flow this way.
pub fn channels(migration: &Migration, way: Way) -> Result<Vec<Channel>> {
    worker::attempt(|| match way {
        Way::There => channel::forward(migration),
        Way::Back => channel::back(migration),
    })
}

fn prepare(migration: &Migration, ends: &mut Ends, way: Way) -> Result<Prepared> {
    let (from, to) = direction(migration, way);
    let channels = channels(migration, way)?;
    let back = match way {
        Way::There if migration.way_back => {
            crate::migration::switch::channels(migration, Way::Back)?
        }
        _ => Vec::new(),
    };
    let mut shells = None;
    if way == Way::There {
        check_same(migration, ends)?;
        if migration.is_import() {
            let definition = worker::attempt(|| {
                let definition = shells::definition(migration, None)?;
                shells::check_unchanged(migration, &definition).map(|()| definition)
            })?;
            let code = TenantCode::of(&mut ends.source, &migration.schemas)?;
            shells = Some((definition, code)).filter(|_| to != NodeId::LOCAL);
        }
    }
    let lockable = tables::lockable(ends.to(from, migration), &migration.schemas)?;
    let positions = tables::positions(ends.to(from, migration), &migration.schemas)?;
    tables::set_positions(ends.to(to, migration), &positions, &[])?;
    let triggers = definition::trigger_turns(ends.to(from, migration), &migration.schemas)?;
    for back in &back {
        // Most of the way, so that little is left to skip behind the fence.
        back.skip(&mut ends.target, &mut ends.source)?;
    }
    Ok(Prepared { from, to, channels, back, lockable, positions, triggers, shells })
}

/// Definitions must not have changed since they were copied, and all tables must have been copied.
fn check_same(migration: &Migration, ends: &mut Ends) -> Result<()> {
    let there = definition::digest(&mut ends.source, &migration.schemas)?;
    let mut moved = worker::attempt(|| migration_table::of_migration(migration.id))?;
    let mut all = tables::moving(&mut ends.source, &migration.schemas)?;
    for list in [&mut moved, &mut all] {
        list.sort_by_key(MovingTable::qualified);
    }
    let all_moved =
        moved.iter().map(MovingTable::qualified).eq(all.iter().map(MovingTable::qualified));
    if all_moved && definition::digest(&mut ends.target, &migration.schemas)? == there {
        return Ok(());
    }
    Err(Error::new(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "the definitions of the schemas have changed during the move",
    )
    .detail("The copies on the two nodes are defined differently.")
    .hint("Begin the move again."))
}

fn behind_fence(
    migration: &Migration,
    ends: &mut Ends,
    way: Way,
    prepared: &Prepared,
    fence: &Fence,
) -> Result<()> {
    let (from, to) = (prepared.from, prepared.to);
    failpoint::hit(failpoint::MIGRATION_FENCE_AFTER)?;
    arrive(migration, ends, &prepared.channels, fence)?;
    let positions = tables::positions(ends.to(from, migration), &migration.schemas)?;
    tables::set_positions(ends.to(to, migration), &positions, &prepared.positions)?;
    backfill::unlogged(migration, ends, (from, to), fence)?;
    for back in &prepared.back {
        back.skip(&mut ends.target, &mut ends.source)?;
    }
    if fence.left().is_zero() {
        return Err(Error::new(Code::ERRCODE_LOCK_NOT_AVAILABLE, "the switch took too long"));
    }
    turn(migration, prepared)?;
    note_turn(migration, prepared)?;
    if !migration::is_still_asked(migration)? {
        return Err(Error::new(
            Code::ERRCODE_LOCK_NOT_AVAILABLE,
            format!("something else was asked of migration {}", migration.id),
        ));
    }
    match way {
        Way::There => {
            migration::advance(migration.id, State::DualWriteBack)?;
            if !migration.way_back {
                migration::end(migration.id, State::Finished, None)?;
            }
        }
        Way::Back => migration::end(migration.id, State::RolledBack, None)?,
    }
    failpoint::hit(failpoint::MIGRATION_FLIP_BEFORE)
}

/// Closes the one copy and opens the other, on both servers and in the directory. Where our transactions do not reach, a
/// copy is closed right before this one commits, and opened behind it.
fn turn(migration: &Migration, prepared: &Prepared) -> Result<()> {
    let (from, to, id) = (prepared.from, prepared.to, migration.id);
    if !from.is_outside() {
        if from != NodeId::LOCAL || migration.is_import() {
            // Else a shell is what nobody writes to here.
            fence::on(from, &fenced(id, "writes"))?;
        }
        let TriggerTurns { silence, unforce, .. } = &prepared.triggers;
        silence.iter().chain(unforce).try_for_each(|statement| fence::on(from, statement))?;
    }
    if to.is_outside() {
        return shells::set_aside(migration);
    }
    fence::on(to, "SET LOCAL helios.migration_session = on")?;
    if to != NodeId::LOCAL || migration.is_import() {
        fence::on(to, &fenced(id, "definition"))?;
    }
    let voice = match to {
        NodeId::LOCAL => &prepared.triggers.voice_of_shells,
        _ => &prepared.triggers.voice,
    };
    let force = &prepared.triggers.force;
    voice.iter().chain(force).try_for_each(|statement| fence::on(to, statement))?;
    catalog::move_shards(&[(migration.shard, to)])?;
    leave_newcomers(migration, from)?;
    if migration.keeps {
        catalog::replica::promoted(migration, None)?;
    }
    if from == NodeId::LOCAL || to == NodeId::LOCAL {
        // Plans for the tables here are plans for shells from now on, or the other way round.
        migration.schemas.iter().try_for_each(|schema| invalidation::tables_changed(schema))?;
    }
    Ok(())
}

/// Notes what is to be removed, and mended, on the copy that is not used any more.
fn note_turn(migration: &Migration, prepared: &Prepared) -> Result<()> {
    let (from, to, id) = (prepared.from, prepared.to, migration.id);
    for schema in &migration.schemas {
        catalog::cleanup::remove(id, to, cleanup::copy_kind(migration, to), schema)?;
        let is_aside = to.is_outside() && from == NodeId::LOCAL;
        if !from.is_outside() && !is_aside {
            catalog::cleanup::add(id, from, cleanup::copy_kind(migration, from), schema)?;
        }
    }
    let later = match migration.is_import() {
        // Triggers that are silent on the old copy sound again when it is opened.
        true => Some((migration.source, "trigger")),
        // A shell is defined as its table is, although nothing is silenced any more.
        false => (from == NodeId::LOCAL).then_some((from, "identity")),
    };
    if let Some((node, kind)) = later {
        let TriggerTurns { voice, force, .. } = &prepared.triggers;
        let force = force.iter().filter(|_| migration.way_back);
        let mut all = voice.iter().chain(force);
        all.try_for_each(|statement| catalog::cleanup::add(id, node, kind, statement))?;
    }
    Ok(())
}

fn fenced(id: i64, kind: &str) -> String {
    catalog::on_node::set_fence_kind(id, kind)
}

/// Everything that was written on the one side is on the other.
pub fn arrive(
    migration: &Migration,
    ends: &mut Ends,
    channels: &[Channel],
    fence: &Fence,
) -> Result<()> {
    for channel in channels {
        let token = channel.mark(ends.to(channel.publisher, migration))?;
        let subscriber = ends.to(channel.subscriber, migration);
        if !channel.arrived(subscriber, token, fence.until())? {
            return Err(Error::new(
                Code::ERRCODE_LOCK_NOT_AVAILABLE,
                "the other copy did not catch up in time",
            ));
        }
    }
    Ok(())
}

/// A schema that came into the shard while its others moved stays where it is.
pub fn leave_newcomers(migration: &Migration, node: NodeId) -> Result<()> {
    for schema in catalog::schemas_of(migration.shard)? {
        if !migration.schemas.contains(&schema) {
            let own = catalog::dedicated_shard(&schema, node)?;
            catalog::put_schema(&schema, own)?;
        }
    }
    Ok(())
}

/// The channels that will flow back, ready to run: made before the fence, because a slot waits for transactions. False
/// if something was asked for meanwhile.
pub fn prepare_back(migration: &Migration, ends: &mut Ends) -> Result<bool> {
    let channels = channels(migration, Way::Back)?;
    let all = worker::attempt(|| {
        channels.iter().try_for_each(Channel::owe)?;
        migration_table::of_migration(migration.id)
    })?;
    failpoint::hit(failpoint::MIGRATION_BACK_BEFORE)?;
    let logged: Vec<_> = all.iter().filter(|table| table.logged).collect();
    for back in &channels {
        let there = format!("SELECT FROM pg_publication WHERE pubname = {}", literal(&back.name));
        if ends.target.query(&there)?.is_empty() {
            back.publish(&mut ends.target, &mut ends.source, &logged)?;
        }
    }
    worker::attempt(|| migration::note(migration.id, Some(WAITING)))?;
    for back in &channels {
        if !back.slot(migration, &mut ends.target)? {
            return Ok(false);
        }
    }
    worker::attempt(|| migration::note(migration.id, None))?;
    let Ends { source, .. } = ends;
    for back in &channels {
        worker::attempt(|| back.subscribe(source, false))?;
    }
    failpoint::hit(failpoint::MIGRATION_BACK_AFTER)?;
    Ok(true)
}

/// Both copies at one point: sessions in REPEATABLE READ transactions whose snapshots show the same rows. `way` is the
/// direction in which changes flow now.
pub fn same_point(migration: &Migration, ends: &mut Ends, way: Way) -> Result<Tried<()>> {
    let (from, _) = direction(migration, way);
    let keep_out = KeepOut::Writers;
    let obstacle =
        worker::attempt(|| fence::in_the_way(migration, ends.to(from, migration), keep_out))?;
    if let Some(obstacle) = obstacle {
        return Ok(Tried::Busy(obstacle));
    }
    let channels = channels(migration, way)?;
    let lockable = tables::lockable(ends.to(from, migration), &migration.schemas)?;
    let mut outside = locker(from)?;
    let mut stood = Duration::ZERO;
    let result = worker::attempt(|| {
        let fence = Fence::raise(migration, from, (&lockable, keep_out), outside.as_mut())?;
        arrive(migration, ends, &channels, &fence)?;
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT FROM pg_class LIMIT 1";
        ends.source.query(begin)?;
        ends.target.query(begin)?;
        if let Some(session) = &mut outside {
            session.query("ROLLBACK")?;
        }
        stood = fence.stood();
        Ok(())
    });
    if stood > Duration::ZERO {
        worker::attempt(|| migration::stalled(migration.id, stood))?;
    }
    match result {
        Ok(()) => Ok(Tried::Done(())),
        Err(error) if fence::is_busy(&error) => {
            ends.roll_back()?;
            Ok(Tried::Busy(error.to_string()))
        }
        Err(error) => Err(error),
    }
}
