//! Steps of replicas: in sync, until they are promoted or removed.

use super::outcome::StepOutcome;
use super::take_over;
use crate::catalog::migration::{self, Migration};
use crate::catalog::{self, NodeId};
use crate::error::Result;
use crate::migration::direction::{self, Direction};
use crate::pg::ipc::worker;
use crate::replication::endpoint::Endpoint;
use helios_core::migration::{Request, State};
use std::time::Duration;

/// How long the worker sleeps: a replica in sync is monitored by the one worker of all replicas.
const REST: Duration = Duration::from_secs(3600);

/// State `in_step`: registers the replica. From here on it may be read and promoted, and commits may wait for it.
pub fn in_step(migration: &Migration) -> Result<StepOutcome> {
    let direction =
        if migration.state.is_before_switch() { Direction::Forward } else { Direction::Back };
    let channels = direction::channels(migration, direction)?;
    worker::attempt(|| {
        catalog::replica::insert(
            migration,
            channels.iter().map(|channel| channel.name.clone()).collect(),
        )?;
        migration::note(migration.id, None)
    })?;
    Ok(StepOutcome::Sleep(REST))
}

/// Request `promote`: switches to the replica while the primary answers, else takes over with what the replica has.
pub fn promote(migration: &Migration) -> Result<StepOutcome> {
    if !answers(migration.primary())? {
        take_over::take_over(migration)?;
        return Ok(StepOutcome::Continue);
    }
    worker::attempt(|| match migration.state {
        State::DualWriteBack => migration::submit(migration.id, Request::RollBack),
        _ => {
            migration::clear_request(migration.id, Request::Promote)?;
            migration::advance(migration.id, State::Switch)
        }
    })?;
    Ok(StepOutcome::Continue)
}

/// Whether a node accepts connections. One that reports that it is starting up (57P03) soon does.
fn answers(node: NodeId) -> Result<bool> {
    const TRIES: u32 = 2;
    for _ in 0..TRIES {
        match worker::attempt(|| Endpoint::of(node).session()?.query("SELECT 1").map(|_| ())) {
            Ok(()) => return Ok(true),
            Err(error) if error.is_class("08") => worker::sleep(Duration::from_millis(250)),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
