//! The switch: changes which of the two copies clients use, forward to the new one or back to the old one.
//!
//! [`attempt`] makes one attempt. It raises the fence, waits until the other copy has caught up, and changes the
//! directory and both fences in one distributed transaction.

use super::code::Code as TenantCode;
use super::definition::{self, TriggerChanges};
use super::direction::{self, Direction};
use super::import::{guard, shells};
use super::primary;
use crate::catalog::NodeId;
use crate::catalog::migration::{self, Migration};
use crate::catalog::migration_table::{self, MovingTable};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::migration::kind::Kind;
use crate::pg::ipc::worker;
use crate::remote::Session;
use crate::replication::backfill;
use crate::replication::channel::Channel;
use crate::replication::endpoint::Endpoint;
use crate::replication::endpoints::Endpoints;
use crate::replication::fence::{self, Fence, KeepOut};
use crate::replication::source_catalogs::{self, Lockable};
use helios_core::migration::State;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::time::Duration;

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
    let (from, _) = direction.publisher_and_subscriber(migration);
    if Endpoint::of(from).is_foreign() {
        // Closed by an attempt that was not completed.
        worker::attempt(|| guard::open(migration, &mut endpoints.source))?;
    }
    let keep_out = match Endpoint::of(from) {
        Endpoint::Local => KeepOut::Everybody,
        Endpoint::Node(_) | Endpoint::Foreign(_) => KeepOut::Writers,
    };
    if let Some(obstacle) = obstacle(migration, endpoints, from, keep_out)? {
        return Ok(Attempt::Busy(obstacle));
    }
    let prepared = prepare(migration, endpoints, direction)?;
    let mut outside = lock_session(from)?;
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
        drop(outside); // its rollback reopens what was not committed
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

/// Describes what prevents the tables from being locked: a long transaction.
pub fn obstacle(
    migration: &Migration,
    endpoints: &mut Endpoints,
    publisher: NodeId,
    keep_out: KeepOut,
) -> Result<Option<String>> {
    worker::attempt(|| {
        fence::blocking_transactions(migration, endpoints.to(publisher, migration), keep_out)
    })
}

/// A session that locks the tables of a foreign server, which takes part in no transaction of the cluster.
pub fn lock_session(from: NodeId) -> Result<Option<Session>> {
    match Endpoint::of(from) {
        endpoint @ Endpoint::Foreign(_) => worker::attempt(|| endpoint.session()).map(Some),
        Endpoint::Local | Endpoint::Node(_) => Ok(None),
    }
}

fn prepare(
    migration: &Migration,
    endpoints: &mut Endpoints,
    direction: Direction,
) -> Result<Prepared> {
    let (from, to) = direction.publisher_and_subscriber(migration);
    let channels = direction::channels(migration, direction)?;
    let back = match direction {
        Direction::Forward if migration.reverse_channel => {
            direction::channels(migration, Direction::Back)?
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
    let ends = (prepared.from, prepared.to);
    primary::change(migration, ends, &prepared.triggers)?;
    primary::note_old_copy(migration, ends, &prepared.triggers)?;
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
