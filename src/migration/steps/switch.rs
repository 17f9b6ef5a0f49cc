//! The switch, the time in which it can be taken back, and the way back.

use super::{Next, advance, end, ends, persist};
use crate::error::Result;
use crate::failpoint;
use crate::migration::channel::Channel;
use crate::migration::cleanup;
use crate::migration::record::{self, Debt, Migration};
use crate::migration::switch::{self, Way};
use crate::pg::worker;
use crate::settings;
use helios_core::migration::State;
use std::time::Duration;

/// How often the lag of the way back is noted, and the length of the window looked up again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The new copy takes over, if the two were found equal a short time ago.
pub fn switch_over(migration: &Migration) -> Result<Next> {
    let oldest = f64::from(settings::VERIFY_MAX_AGE.get());
    // A copy in step was verified when it was made, and is compared whenever somebody asks.
    if !migration.keeps && migration.verified.is_none_or(|age| age > oldest) {
        return advance(migration, State::Verify);
    }
    let mut ends = ends(migration)?;
    if migration.way_back {
        switch::prepare_back(migration, &mut ends)?;
    }
    persist(migration, || switch::attempt(migration, &mut ends, Way::There)).map(|_| Next::Go)
}

/// Changes flow back, until the window ends.
pub fn dual_write_back(migration: &Migration) -> Result<Next> {
    let back = open_way_back(migration)?;
    let lag = back.lag(&mut ends(migration)?.target)?;
    worker::attempt(|| {
        record::lag(migration.id, lag)?;
        record::note(migration.id, None)
    })?;
    if migration.keeps {
        return super::replica::in_step(migration);
    }
    let window = Duration::from_secs(settings::ROLLBACK_WINDOW.get().unsigned_abs().into());
    let since = Duration::try_from_secs_f64(migration.switched.unwrap_or(0.0)).unwrap_or_default();
    match window.checked_sub(since) {
        Some(left) if !left.is_zero() => Ok(Next::Rest(left.min(LOOK_AGAIN))),
        _ => end(migration, State::Finished),
    }
}

/// The old copy takes over again.
pub fn roll_back(migration: &Migration) -> Result<Next> {
    open_way_back(migration)?;
    let mut ends = ends(migration)?;
    persist(migration, || switch::attempt(migration, &mut ends, Way::Back)).map(|_| Next::Go)
}

/// Lets changes flow back. The way there is closed first: what flows back must not come round again.
pub fn open_way_back(migration: &Migration) -> Result<Channel> {
    let back = worker::attempt(|| Channel::back(migration))?;
    let way_there = |debt: &Debt| {
        matches!(debt.kind.as_str(), "subscription" | "slot" | "publication")
            && debt.name != back.name
    };
    cleanup::some(migration, way_there)?;
    failpoint::hit(failpoint::MIGRATION_REVERSE_BEFORE)?;
    back.enable(&mut ends(migration)?.source)?;
    failpoint::hit(failpoint::MIGRATION_REVERSE_AFTER)?;
    Ok(back)
}
