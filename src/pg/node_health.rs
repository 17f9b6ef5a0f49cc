//! Which nodes answer, as the workers of this server's databases last saw it.

#![allow(unexpected_cfgs)] // pg_shmem_init asks for versions that this crate has no feature for

use pgrx::prelude::*;
use pgrx::{PGRXSharedMemory, PgLwLock, pg_shmem_init};

/// How a node answers.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum State {
    /// All of its addresses answer.
    #[default]
    Online,
    /// Some do.
    Degraded,
    /// None does: connections are refused or break.
    Offline,
    /// None does, and nothing says so: whoever connects waits in vain.
    Silent,
}

/// What is known of a node.
#[derive(Clone, Copy, Default, Debug)]
pub struct Health {
    /// How it answers.
    pub state: State,
    /// Since when (microseconds since 2000).
    pub since: i64,
    /// When it was last looked at.
    pub checked: i64,
}

const NODES: usize = 1024;

#[derive(Clone, Copy, Default)]
struct Slot {
    database: u32,
    node: i32,
    health: Health,
}

#[derive(Clone, Copy)]
struct Slots([Slot; NODES]);

impl Default for Slots {
    fn default() -> Self {
        Self([Slot::default(); NODES])
    }
}

// SAFETY: plain values, meaningful in every process.
unsafe impl PGRXSharedMemory for Slots {}

// SAFETY: the name is unique to this use, and the memory is asked for in `install`, from `_PG_init`.
static NODES_SEEN: PgLwLock<Slots> = unsafe { PgLwLock::new(c"helios_nodes") };

/// Asks the postmaster for the memory.
pub fn install() {
    pg_shmem_init!(NODES_SEEN);
}

/// Notes how the nodes of a database answer now; what was known of others of its nodes is forgotten.
pub fn note(database: u32, states: &[(i32, State)]) {
    // SAFETY: reads the clock.
    let now = unsafe { pg_sys::GetCurrentTimestamp() };
    let mut slots = NODES_SEEN.exclusive();
    for slot in slots.0.iter_mut().filter(|slot| slot.database == database) {
        if !states.iter().any(|(node, _)| *node == slot.node) {
            *slot = Slot::default();
        }
    }
    for &(node, state) in states {
        let own = slots.0.iter().position(|s| s.database == database && s.node == node);
        let Some(at) = own.or_else(|| slots.0.iter().position(|s| s.database == 0)) else {
            continue;
        };
        let slot = &mut slots.0[at];
        let changed = own.is_none() || slot.health.state != state;
        let since = if changed { now } else { slot.health.since };
        *slot = Slot { database, node, health: Health { state, since, checked: now } };
    }
}

/// What is known of a node of this backend's database; None if nothing is.
pub fn of(node: i32) -> Option<Health> {
    // SAFETY: reads a variable of this backend.
    let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    let slots = NODES_SEEN.share();
    let slot = slots.0.iter().find(|slot| slot.database == database && slot.node == node)?;
    Some(slot.health)
}

/// Seconds since a moment.
pub fn age(moment: i64) -> f64 {
    // SAFETY: reads the clock.
    (unsafe { pg_sys::GetCurrentTimestamp() } - moment) as f64 / 1e6
}
