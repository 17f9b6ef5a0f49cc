//! The switch, the time in which it can be taken back, and the way back.

use super::outcome::{Next, advance, end, ends, persist};
use crate::catalog::cleanup::CleanupItem;
use crate::catalog::migration::{self, Migration};
use crate::error::Result;
use crate::failpoint;
use crate::migration::cleanup;
use crate::migration::kind::Kind;
use crate::migration::switch::{self, Way};
use crate::pg::ipc::worker;
use crate::replication::channel::Channel;
use crate::settings;
use helios_core::migration::State;
use std::time::Duration;

/// How often the lag of the way back is noted, and the length of the window looked up again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The new copy takes over, if the two were found equal a short time ago.
pub fn switch_over(migration: &Migration) -> Result<Next> {
    let is_replica = Kind::of(migration) == Kind::Replica;
    let oldest = f64::from(settings::VERIFY_MAX_AGE.get());
    // A copy in step was verified when it was made, and is compared whenever somebody asks.
    if !is_replica && migration.verified.is_none_or(|age| age > oldest) {
        return advance(migration, State::Verify);
    }
    let mut ends = ends(migration)?;
    if migration.way_back && !switch::prepare_back(migration, &mut ends)? {
        return Ok(Next::Go); // something was asked for
    }
    persist(migration, || switch::attempt(migration, &mut ends, Way::There)).map(|_| Next::Go)
}

/// Changes flow back, until the window ends.
pub fn dual_write_back(migration: &Migration) -> Result<Next> {
    let is_replica = Kind::of(migration) == Kind::Replica;
    let window = Duration::from_secs(settings::ROLLBACK_WINDOW.get().unsigned_abs().into());
    let since = Duration::try_from_secs_f64(migration.switched.unwrap_or(0.0)).unwrap_or_default();
    let left = window.saturating_sub(since);
    // First: a way back that cannot be opened any more does not make the window longer.
    if left.is_zero() && !is_replica {
        return end(migration, State::Finished);
    }
    let channels = open_way_back(migration)?;
    let mut ends = ends(migration)?;
    let mut lag = 0;
    for back in &channels {
        lag = lag.max(back.lag(&mut ends.target)?);
    }
    worker::attempt(|| {
        migration::lag(migration.id, lag)?;
        migration::note(migration.id, None)
    })?;
    if is_replica {
        return super::replica::in_step(migration);
    }
    Ok(Next::Rest(left.min(LOOK_AGAIN)))
}

/// The old copy takes over again.
pub fn roll_back(migration: &Migration) -> Result<Next> {
    open_way_back(migration)?;
    let mut ends = ends(migration)?;
    persist(migration, || switch::attempt(migration, &mut ends, Way::Back)).map(|_| Next::Go)
}

/// Lets changes flow back. The way there is closed first: what flows back must not come round again.
pub fn open_way_back(migration: &Migration) -> Result<Vec<Channel>> {
    let channels = switch::channels(migration, Way::Back)?;
    let way_there = |debt: &CleanupItem| {
        matches!(debt.kind.as_str(), "subscription" | "slot" | "publication")
            && channels.iter().all(|back| debt.name != back.name)
    };
    cleanup::some(migration, way_there)?;
    failpoint::hit(failpoint::MIGRATION_REVERSE_BEFORE)?;
    let mut ends = ends(migration)?;
    channels.iter().try_for_each(|back| back.enable(&mut ends.source))?;
    failpoint::hit(failpoint::MIGRATION_REVERSE_AFTER)?;
    Ok(channels)
}
