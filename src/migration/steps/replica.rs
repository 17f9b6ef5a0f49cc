//! Copies that are kept: in step, until they are promoted or no longer wanted.

use super::Next;
use crate::catalog;
use crate::catalog::migration::{self, Migration};
use crate::error::Result;
use crate::migration::switch::{self, Way};
use crate::pg::ipc::worker;
use crate::replica;
use helios_core::migration::{State, Wish};
use std::time::Duration;

/// A copy in step needs no worker of its own: it is looked after by the one of all copies.
const REST: Duration = Duration::from_secs(3600);

/// From here on the copy may be read and promoted, and commits may wait for it.
pub fn in_step(migration: &Migration) -> Result<Next> {
    let way = if migration.state.is_before_switch() { Way::There } else { Way::Back };
    let channels = switch::channels(migration, way)?;
    worker::attempt(|| {
        catalog::replica::insert(
            migration,
            channels.iter().map(|channel| channel.name.clone()).collect(),
        )?;
        migration::note(migration.id, None)
    })?;
    Ok(Next::Rest(REST))
}

/// The copy is to be used: with the switch as long as the primary answers, else as it is.
pub fn promote(migration: &Migration) -> Result<Next> {
    if !replica::answers(migration.primary())? {
        replica::take_over(migration)?;
        return Ok(Next::Go);
    }
    worker::attempt(|| match migration.state {
        State::DualWriteBack => migration::ask(migration.id, Wish::RollBack),
        _ => {
            migration::fulfil(migration.id, Wish::Promote)?;
            migration::advance(migration.id, State::Switch)
        }
    })?;
    Ok(Next::Go)
}
