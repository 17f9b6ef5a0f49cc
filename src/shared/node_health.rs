//! Which nodes answer, as the workers of this server's databases last saw it.

use crate::pg::ipc::shared_memory::{Locked, plain_enum, plain_struct};
use crate::pg::session;
use crate::shared::worker_slots;

plain_enum! {
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
}

plain_struct! {
    /// What is known of a node.
    #[derive(Clone, Copy, Default, Debug)]
    pub struct Health {
        /// How it answers.
        pub state: State,
        /// Since when (microseconds since 2000).
        pub since: i64,
        /// When it was last looked at; 0: never.
        pub checked: i64,
        /// A session with it failed since then.
        pub suspect: bool,
    }
}

const NODES: usize = 1024;

plain_struct! {
    #[derive(Clone, Copy, Default)]
    struct Slot {
        database: u32,
        node: i32,
        health: Health,
        /// Which of its addresses was the primary's last; 0: not known.
        primary: u64,
        /// It knows that this server is the coordinator, told since the server started.
        claimed: bool,
    }
}

plain_struct! {
    pub(super) struct Slots {
        nodes: [Slot; NODES],
    }
}

pub(super) static NODES_SEEN: Locked<Slots> = Locked::new(c"helios_nodes");

impl Slots {
    fn find(&mut self, database: u32, node: i32) -> Option<&mut Slot> {
        self.nodes.iter_mut().find(|slot| slot.database == database && slot.node == node)
    }

    /// The slot of a node, which may be a new one; None when all are taken.
    fn find_or_take(&mut self, database: u32, node: i32) -> Option<&mut Slot> {
        let own = self.nodes.iter().position(|slot| slot.database == database && slot.node == node);
        let slot = match own {
            Some(at) => &mut self.nodes[at],
            None => self.nodes.iter_mut().find(|slot| slot.database == 0)?,
        };
        (slot.database, slot.node) = (database, node);
        Some(slot)
    }
}

/// Notes how the nodes of a database answer, as far as they were looked at now; what was known of others of its nodes
/// is forgotten.
pub fn note(database: u32, states: &[(i32, Option<State>)]) {
    let now = session::clock();
    let mut slots = NODES_SEEN.exclusive();
    for slot in slots.nodes.iter_mut().filter(|slot| slot.database == database) {
        if !states.iter().any(|(node, _)| *node == slot.node) {
            *slot = Slot::default();
        }
    }
    for &(node, state) in states {
        let Some(state) = state else { continue };
        let Some(slot) = slots.find_or_take(database, node) else { continue };
        let same = slot.health.checked != 0 && slot.health.state == state;
        let since = if same { slot.health.since } else { now };
        slot.health = Health { state, since, checked: now, suspect: false };
    }
}

/// A session with a node of this backend's database failed: the worker is to look at it now. One that is known not to
/// answer is looked at anyhow.
pub fn suspect(node: i32) {
    let database = session::database_id();
    let mut slots = NODES_SEEN.exclusive();
    let Some(slot) = slots.find(database, node) else { return };
    if slot.health.suspect || matches!(slot.health.state, State::Offline | State::Silent) {
        return;
    }
    slot.health.suspect = true;
    drop(slots);
    worker_slots::wake(database);
}

/// What is known of a node of this backend's database; None if nothing is.
pub fn of(node: i32) -> Option<Health> {
    let database = session::database_id();
    let slots = NODES_SEEN.share();
    let slot = slots.nodes.iter().find(|slot| slot.database == database && slot.node == node)?;
    Some(slot.health).filter(|health| health.checked != 0)
}

/// Which address of a node was the primary's last, as [`set_primary`] was told; 0 if that is not known.
pub fn primary(node: i32) -> u64 {
    let slots = NODES_SEEN.share();
    let database = session::database_id();
    let slot = slots.nodes.iter().find(|slot| slot.database == database && slot.node == node);
    slot.map_or(0, |slot| slot.primary)
}

/// Notes which address of a node is the primary's: any number that stands for it.
pub fn set_primary(node: i32, address: u64) {
    if primary(node) == address {
        return;
    }
    if let Some(slot) = NODES_SEEN.exclusive().find_or_take(session::database_id(), node) {
        slot.primary = address;
    }
}

/// Whether the node was told since the server started that this is the coordinator.
pub fn is_claimed(node: i32) -> bool {
    let database = session::database_id();
    let slots = NODES_SEEN.share();
    slots.nodes.iter().any(|slot| slot.database == database && slot.node == node && slot.claimed)
}

/// Notes whether the node takes this server for the coordinator.
pub fn set_claimed(node: i32, claimed: bool) {
    if is_claimed(node) != claimed
        && let Some(slot) = NODES_SEEN.exclusive().find_or_take(session::database_id(), node)
    {
        slot.claimed = claimed;
    }
}

/// Seconds since a moment.
pub fn age(moment: i64) -> f64 {
    (session::clock() - moment) as f64 / 1e6
}
