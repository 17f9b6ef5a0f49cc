//! The switch, the rollback window, and the rollback.

use super::outcome::{StepOutcome, advance, connect, end, retry_until_done};
use crate::catalog::cleanup::CleanupItem;
use crate::catalog::migration::{self, Migration};
use crate::catalog::migration_table;
use crate::error::Result;
use crate::failpoint;
use crate::migration::cleanup;
use crate::migration::direction::{self, Direction};
use crate::migration::kind::Kind;
use crate::migration::switch;
use crate::pg::ipc::worker;
use crate::replication::channel::Channel;
use crate::replication::endpoints::{Endpoints, literal};
use crate::replication::interruptible::Interruptible;
use crate::settings;
use helios_core::migration::State;
use std::time::Duration;

/// Pause between two updates of the lag, after which the length of the rollback window is read again.
const WINDOW_POLL_INTERVAL: Duration = Duration::from_secs(60);

/// Progress message while the replication slot of the reverse channel is created.
const WAITING: &str = "waiting for open transactions on the target";

/// State `switch`: makes the new copy the active one, if both were recently found equal.
pub fn switch_over(migration: &Migration) -> Result<StepOutcome> {
    let is_replica = Kind::of(migration) == Kind::Replica;
    let oldest = f64::from(settings::VERIFY_MAX_AGE.get());
    // A replica was verified when it was created, and is compared again on request.
    if !is_replica && migration.verified.is_none_or(|age| age > oldest) {
        return advance(migration, State::Verify);
    }
    let mut endpoints = connect(migration)?;
    if migration.reverse_channel
        && prepare_reverse_channel(migration, &mut endpoints)?.is_interrupted()
    {
        return Ok(StepOutcome::Continue);
    }
    retry_until_done(migration, || switch::attempt(migration, &mut endpoints, Direction::Forward))
        .map(|_| StepOutcome::Continue)
}

/// The reverse channels, ready to be started: created before the fence, because slot creation waits for transactions.
fn prepare_reverse_channel(
    migration: &Migration,
    endpoints: &mut Endpoints,
) -> Result<Interruptible> {
    let channels = direction::channels(migration, Direction::Back)?;
    let all = worker::attempt(|| {
        channels.iter().try_for_each(Channel::note_cleanup)?;
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

/// State `dual_write_back`: changes are replicated back to the old copy until the rollback window ends.
pub fn dual_write_back(migration: &Migration) -> Result<StepOutcome> {
    let is_replica = Kind::of(migration) == Kind::Replica;
    let window = Duration::from_secs(settings::ROLLBACK_WINDOW.get().unsigned_abs().into());
    let since = Duration::try_from_secs_f64(migration.switched.unwrap_or(0.0)).unwrap_or_default();
    let left = window.saturating_sub(since);
    // Do this first: a reverse channel that cannot be opened anymore must not extend the window.
    if left.is_zero() && !is_replica {
        return end(migration, State::Finished);
    }
    let channels = open_reverse_channel(migration)?;
    let mut endpoints = connect(migration)?;
    let mut lag = 0;
    for back in &channels {
        lag = lag.max(back.lag(&mut endpoints.target)?);
    }
    worker::attempt(|| {
        migration::lag(migration.id, lag)?;
        migration::note(migration.id, None)
    })?;
    if is_replica {
        return super::replica::in_step(migration);
    }
    Ok(StepOutcome::Sleep(left.min(WINDOW_POLL_INTERVAL)))
}

/// Request `rollback`: makes the old copy the active one again.
pub fn roll_back(migration: &Migration) -> Result<StepOutcome> {
    open_reverse_channel(migration)?;
    let mut endpoints = connect(migration)?;
    retry_until_done(migration, || switch::attempt(migration, &mut endpoints, Direction::Back))
        .map(|_| StepOutcome::Continue)
}

/// Starts replication back to the old copy. Removes the forward channels first, so that changes do not go in a circle.
pub fn open_reverse_channel(migration: &Migration) -> Result<Vec<Channel>> {
    let channels = direction::channels(migration, Direction::Back)?;
    let way_there = |item: &CleanupItem| {
        matches!(item.kind.as_str(), "subscription" | "slot" | "publication")
            && channels.iter().all(|back| item.name != back.name)
    };
    cleanup::some(migration, way_there)?;
    failpoint::hit(failpoint::MIGRATION_REVERSE_BEFORE)?;
    let mut endpoints = connect(migration)?;
    channels.iter().try_for_each(|back| back.enable(&mut endpoints.source))?;
    failpoint::hit(failpoint::MIGRATION_REVERSE_AFTER)?;
    Ok(channels)
}
