//! The switch: changes which of the two copies clients use, forward to the new one or back to the old one.
//!
//! [`attempt`] makes one attempt. It raises the fence, waits until the other copy has caught up, and changes the
//! directory and both fences in one distributed transaction.

use super::cleanup;
use super::code::Code as TenantCode;
use super::definition::{self, TriggerChanges};
pub use super::direction::Direction;
use super::import::{guard, shells};
use crate::catalog::migration::{self, Migration};
use crate::catalog::migration_table::{self, MovingTable};
use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::migration::kind::Kind;
use crate::pg::hooks::invalidation;
use crate::pg::ipc::worker;
use crate::remote::Session;
use crate::replication::backfill;
use crate::replication::channel::{self, Channel};
use crate::replication::endpoint::Endpoint;
use crate::replication::endpoints::{Endpoints, literal};
use crate::replication::fence::{self, Fence, KeepOut};
use crate::replication::interruptible::Interruptible;
use crate::replication::source_catalogs::{self, Lockable};
use helios_core::migration::State;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::time::Duration;

/// Progress message while the replication slot of the way back is created.
const WAITING: &str = "waiting for open transactions on the target";

/// Outcome of one attempt that requires a fence.
pub enum Attempt<T> {
    /// It succeeded, with this result.
    Done(T),
    /// A conflicting transaction holds the tables, as the text describes; retry later.
    Busy(String),
}

/// Prepared before the fence is raised, to shorten the time for which it is held.
struct Prepared {
    from: NodeId,
    to: NodeId,
    channels: Vec<Channel>,
    /// The channels that replicate in the other direction after the switch.
    back: Vec<Channel>,
    lockable: Vec<Lockable>,
    positions: Vec<(String, String, bool)>,
    triggers: TriggerChanges,
    /// Definition of the shells that the switch creates on the coordinator.
    shells: Option<(shells::Definition, TenantCode)>,
}

/// Makes one attempt to switch the migration to its other copy.
pub fn attempt(
    migration: &Migration,
    endpoints: &mut Endpoints,
    direction: Direction,
) -> Result<Attempt<()>> {
    let (from, _) = publisher_and_subscriber(migration, direction);
    if Endpoint::of(from).is_foreign() {
        // Closed by an attempt that was not completed.
        worker::attempt(|| guard::open(migration, &mut endpoints.source))?;
    }
    let keep_out = match Endpoint::of(from) {
        Endpoint::Local => KeepOut::Everybody,
        Endpoint::Node(_) | Endpoint::Foreign(_) => KeepOut::Writers,
    };
    let obstacle = worker::attempt(|| {
        fence::blocking_transactions(migration, endpoints.to(from, migration), keep_out)
    })?;
    if let Some(obstacle) = obstacle {
        return Ok(Attempt::Busy(obstacle));
    }
    let prepared = prepare(migration, endpoints, direction)?;
    let mut outside = locker(from)?;
    failpoint::hit(failpoint::MIGRATION_SWITCH_BEFORE)?;
    let mut fence_held = Duration::ZERO;
    let result = worker::attempt(|| {
        if let Some((shells, code)) = &prepared.shells {
            shells::make(migration, shells, code)?;
        }
        let tables = (&prepared.lockable[..], keep_out);
        let fence = Fence::raise(migration, from, tables, outside.as_mut())?;
        let outcome = behind_fence(migration, endpoints, direction, &prepared, &fence);
        fence_held = fence.held_for();
        outcome?;
        // Close one copy before opening the other.
        match &mut outside {
            Some(session) => {
                let TriggerChanges { disable, no_force_row_security, .. } = &prepared.triggers;
                // Without a reverse channel nothing is applied to it.
                let no_force_row_security =
                    no_force_row_security.iter().filter(|_| migration.reverse_channel);
                let all: Vec<_> = disable.iter().chain(no_force_row_security).cloned().collect();
                guard::close(migration, session, &all)?;
                failpoint::hit(failpoint::MIGRATION_IMPORT_CLOSED)
            }
            None => Ok(()),
        }
    });
    if result.is_err() && Endpoint::of(from).is_foreign() {
        drop(outside); // what it has not committed is open again
        worker::attempt(|| match migration::load(migration.id)?.state.is_before_switch() {
            true => guard::open(migration, &mut endpoints.source),
            false => Ok(()),
        })?;
    }
    if fence_held > Duration::ZERO {
        worker::attempt(|| migration::stalled(migration.id, fence_held))?;
    }
    match result {
        Ok(()) => {
            failpoint::hit(failpoint::MIGRATION_SWITCH_AFTER)?;
            Ok(Attempt::Done(()))
        }
        Err(error) if fence::is_lock_conflict(&error) => Ok(Attempt::Busy(error.to_string())),
        Err(error) => Err(error),
    }
}

/// A session that locks the tables of a foreign server, which takes part in no transaction of the cluster.
fn locker(from: NodeId) -> Result<Option<Session>> {
    match Endpoint::of(from) {
        endpoint @ Endpoint::Foreign(_) => worker::attempt(|| endpoint.session()).map(Some),
        Endpoint::Local | Endpoint::Node(_) => Ok(None),
    }
}

fn publisher_and_subscriber(migration: &Migration, direction: Direction) -> (NodeId, NodeId) {
    match direction {
        Direction::Forward => (migration.source, migration.target),
        Direction::Back => (migration.target, migration.source),
    }
}

/// The channels that replicate in this direction.
pub fn channels(migration: &Migration, direction: Direction) -> Result<Vec<Channel>> {
    worker::attempt(|| match direction {
        Direction::Forward => channel::forward(migration),
        Direction::Back => channel::back(migration),
    })
}

fn prepare(
    migration: &Migration,
    endpoints: &mut Endpoints,
    direction: Direction,
) -> Result<Prepared> {
    let (from, to) = publisher_and_subscriber(migration, direction);
    let channels = channels(migration, direction)?;
    let back = match direction {
        Direction::Forward if migration.reverse_channel => {
            crate::migration::switch::channels(migration, Direction::Back)?
        }
        _ => Vec::new(),
    };
    let mut shells = None;
    if direction == Direction::Forward {
        check_same(migration, endpoints)?;
        if Kind::of(migration) == Kind::Import {
            let definition = worker::attempt(|| {
                let definition = shells::definition(migration, None)?;
                shells::check_unchanged(migration, &definition).map(|()| definition)
            })?;
            let code = TenantCode::of(&mut endpoints.source, &migration.schemas)?;
            shells = Some((definition, code)).filter(|_| Endpoint::of(to) != Endpoint::Local);
        }
    }
    let lockable = source_catalogs::lockable(endpoints.to(from, migration), &migration.schemas)?;
    let positions = source_catalogs::positions(endpoints.to(from, migration), &migration.schemas)?;
    source_catalogs::set_positions(endpoints.to(to, migration), &positions, &[])?;
    let triggers = definition::trigger_changes(endpoints.to(from, migration), &migration.schemas)?;
    for back in &back {
        // Advance the position now, so that little is left to skip while the fence is held.
        back.skip(&mut endpoints.target, &mut endpoints.source)?;
    }
    Ok(Prepared { from, to, channels, back, lockable, positions, triggers, shells })
}

/// Definitions must not have changed since they were copied, and all tables must have been copied.
fn check_same(migration: &Migration, endpoints: &mut Endpoints) -> Result<()> {
    let there = definition::digest(&mut endpoints.source, &migration.schemas)?;
    let mut moved = worker::attempt(|| migration_table::of_migration(migration.id))?;
    let mut all = source_catalogs::moving(&mut endpoints.source, &migration.schemas)?;
    for list in [&mut moved, &mut all] {
        list.sort_by_key(MovingTable::qualified);
    }
    let all_moved =
        moved.iter().map(MovingTable::qualified).eq(all.iter().map(MovingTable::qualified));
    if all_moved && definition::digest(&mut endpoints.target, &migration.schemas)? == there {
        return Ok(());
    }
    Err(Error::new(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "the definitions of the schemas were changed during the move",
    )
    .detail("The definitions on the two nodes differ.")
    .hint("Start the move again."))
}

fn behind_fence(
    migration: &Migration,
    endpoints: &mut Endpoints,
    direction: Direction,
    prepared: &Prepared,
    fence: &Fence,
) -> Result<()> {
    let (from, to) = (prepared.from, prepared.to);
    failpoint::hit(failpoint::MIGRATION_FENCE_AFTER)?;
    arrive(migration, endpoints, &prepared.channels, fence)?;
    let positions = source_catalogs::positions(endpoints.to(from, migration), &migration.schemas)?;
    source_catalogs::set_positions(endpoints.to(to, migration), &positions, &prepared.positions)?;
    backfill::unlogged(migration, endpoints, (from, to), fence)?;
    for back in &prepared.back {
        back.skip(&mut endpoints.target, &mut endpoints.source)?;
    }
    if fence.left().is_zero() {
        return Err(Error::new(Code::ERRCODE_LOCK_NOT_AVAILABLE, "timed out during the switch"));
    }
    flip(migration, prepared)?;
    note_flip(migration, prepared)?;
    if !migration::is_request_unchanged(migration)? {
        return Err(Error::new(
            Code::ERRCODE_LOCK_NOT_AVAILABLE,
            format!("migration {} received another request", migration.id),
        ));
    }
    match direction {
        Direction::Forward => {
            migration::advance(migration.id, State::DualWriteBack)?;
            if !migration.reverse_channel {
                migration::end(migration.id, State::Finished, None)?;
            }
        }
        Direction::Back => migration::end(migration.id, State::RolledBack, None)?,
    }
    failpoint::hit(failpoint::MIGRATION_FLIP_BEFORE)
}

/// Closes one copy and opens the other, on both servers and in the directory. On a server outside of our transactions,
/// a copy is closed right before this transaction commits, and opened right after.
fn flip(migration: &Migration, prepared: &Prepared) -> Result<()> {
    let (kind, id) = (Kind::of(migration), migration.id);
    let (from, to) = (Endpoint::of(prepared.from), Endpoint::of(prepared.to));
    match from {
        Endpoint::Foreign(_) => {}
        Endpoint::Local | Endpoint::Node(_) => {
            // Shells have no fence, because nobody writes to them.
            if !kind.uses_shells(from) {
                from.execute(&fenced(id, "writes"))?;
            }
            let TriggerChanges { disable, no_force_row_security, .. } = &prepared.triggers;
            disable
                .iter()
                .chain(no_force_row_security)
                .try_for_each(|statement| from.execute(statement))?;
        }
    }
    let enable = match to {
        Endpoint::Foreign(_) => return shells::set_aside(migration),
        Endpoint::Local => &prepared.triggers.enable_on_shells,
        Endpoint::Node(_) => &prepared.triggers.enable,
    };
    to.execute("SET LOCAL helios.migration_session = on")?;
    if !kind.uses_shells(to) {
        to.execute(&fenced(id, "definition"))?;
    }
    let force_row_security = &prepared.triggers.force_row_security;
    enable.iter().chain(force_row_security).try_for_each(|statement| to.execute(statement))?;
    catalog::move_shards(&[(migration.shard, to.id())])?;
    leave_newcomers(migration, from.id())?;
    if kind == Kind::Replica {
        catalog::replica::promoted(migration, None)?;
    }
    if from == Endpoint::Local || to == Endpoint::Local {
        // Invalidate plans: local tables become shells, or shells become local tables.
        migration.schemas.iter().try_for_each(|schema| invalidation::tables_changed(schema))?;
    }
    Ok(())
}

/// Records what must be removed or repaired on the copy that is no longer used.
fn note_flip(migration: &Migration, prepared: &Prepared) -> Result<()> {
    let (from, to, id) = (prepared.from, prepared.to, migration.id);
    for schema in &migration.schemas {
        catalog::cleanup::remove(id, to, cleanup::copy_kind(migration, to), schema)?;
        match (Endpoint::of(from), Endpoint::of(to)) {
            // The copy on a foreign server is never removed; the local one has been set aside.
            (Endpoint::Foreign(_), _) | (Endpoint::Local, Endpoint::Foreign(_)) => {}
            _ => catalog::cleanup::add(id, from, cleanup::copy_kind(migration, from), schema)?,
        }
    }
    let later = match (Kind::of(migration), Endpoint::of(from)) {
        // Triggers that were disabled on the old copy are enabled again when it is opened.
        (Kind::Import, _) => Some((migration.source, "trigger")),
        // Shells are defined as their tables are: what was disabled for the move is enabled again.
        (_, Endpoint::Local) => Some((from, "identity")),
        (_, Endpoint::Node(_) | Endpoint::Foreign(_)) => None,
    };
    if let Some((node, kind)) = later {
        let TriggerChanges { enable, force_row_security, .. } = &prepared.triggers;
        let force_row_security = force_row_security.iter().filter(|_| migration.reverse_channel);
        let mut all = enable.iter().chain(force_row_security);
        all.try_for_each(|statement| catalog::cleanup::add(id, node, kind, statement))?;
    }
    Ok(())
}

fn fenced(id: i64, kind: &str) -> String {
    catalog::remote_sql::set_fence_kind(id, kind)
}

/// Waits until everything committed on the publisher has been applied on the subscriber. 55P03 if that takes longer
/// than the fence may be held.
pub fn arrive(
    migration: &Migration,
    endpoints: &mut Endpoints,
    channels: &[Channel],
    fence: &Fence,
) -> Result<()> {
    for channel in channels {
        let token = channel.mark(endpoints.to(channel.publisher, migration))?;
        let subscriber = endpoints.to(channel.subscriber, migration);
        if !channel.arrived(subscriber, token, fence.until())? {
            return Err(Error::new(
                Code::ERRCODE_LOCK_NOT_AVAILABLE,
                "timed out waiting for the other copy to catch up",
            ));
        }
    }
    Ok(())
}

/// Schemas added to the shard during the move stay where they are.
pub fn leave_newcomers(migration: &Migration, node: NodeId) -> Result<()> {
    for schema in catalog::schemas_of(migration.shard)? {
        if !migration.schemas.contains(&schema) {
            let own = catalog::dedicated_shard(&schema, node)?;
            catalog::put_schema(&schema, own)?;
        }
    }
    Ok(())
}

/// The channels that will flow back, ready to run: made before the fence, because a slot waits for transactions.
pub fn prepare_back(migration: &Migration, endpoints: &mut Endpoints) -> Result<Interruptible> {
    let channels = channels(migration, Direction::Back)?;
    let all = worker::attempt(|| {
        channels.iter().try_for_each(Channel::owe)?;
        migration_table::of_migration(migration.id)
    })?;
    failpoint::hit(failpoint::MIGRATION_BACK_BEFORE)?;
    let logged: Vec<_> = all.iter().filter(|table| table.logged).collect();
    for back in &channels {
        let there = format!("SELECT FROM pg_publication WHERE pubname = {}", literal(&back.name));
        if endpoints.target.query(&there)?.is_empty() {
            back.publish(&mut endpoints.target, &mut endpoints.source, &logged)?;
        }
    }
    worker::attempt(|| migration::note(migration.id, Some(WAITING)))?;
    for back in &channels {
        if back.slot(migration, &mut endpoints.target)?.is_interrupted() {
            return Ok(Interruptible::Interrupted);
        }
    }
    worker::attempt(|| migration::note(migration.id, None))?;
    let Endpoints { source, .. } = endpoints;
    for back in &channels {
        worker::attempt(|| back.subscribe(source, false))?;
    }
    failpoint::hit(failpoint::MIGRATION_BACK_AFTER)?;
    Ok(Interruptible::Completed(()))
}

/// Brings both copies to the same point: sessions in REPEATABLE READ transactions whose snapshots show the same rows.
/// `way` is the direction of replication.
pub fn same_point(
    migration: &Migration,
    endpoints: &mut Endpoints,
    direction: Direction,
) -> Result<Attempt<()>> {
    let (from, _) = publisher_and_subscriber(migration, direction);
    let keep_out = KeepOut::Writers;
    let obstacle = worker::attempt(|| {
        fence::blocking_transactions(migration, endpoints.to(from, migration), keep_out)
    })?;
    if let Some(obstacle) = obstacle {
        return Ok(Attempt::Busy(obstacle));
    }
    let channels = channels(migration, direction)?;
    let lockable = source_catalogs::lockable(endpoints.to(from, migration), &migration.schemas)?;
    let mut outside = locker(from)?;
    let mut fence_held = Duration::ZERO;
    let result = worker::attempt(|| {
        let fence = Fence::raise(migration, from, (&lockable, keep_out), outside.as_mut())?;
        arrive(migration, endpoints, &channels, &fence)?;
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
