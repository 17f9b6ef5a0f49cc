//! Health of nodes as last checked by the workers of this server's databases.

use crate::pg::ipc::shared_memory::{Locked, plain_enum, plain_struct};
use crate::pg::session;
use crate::shared::worker_slots;

plain_enum! {
    /// How a node responds.
    #[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
    pub enum State {
        /// All of its addresses respond.
        #[default]
        Online,
        /// Some of its addresses respond.
        Degraded,
        /// None does: connections are refused or closed.
        Offline,
        /// None does, and there is no error: connection attempts time out.
        Silent,
    }
}

plain_struct! {
    /// Health of a node.
    #[derive(Clone, Copy, Default, Debug)]
    pub struct Health {
        /// How it responds.
        pub state: State,
        /// Start of this state (microseconds since 2000).
        pub since: i64,
        /// Time of the last check; 0 for never.
        pub checked: i64,
        /// A session with it has failed since then.
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
        /// The last known primary among its addresses; 0 if unknown.
        primary: u64,
        /// This server has been registered as its coordinator since the server's start.
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

    /// The slot of a node, allocated if necessary; None if all are in use.
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

/// Records the states of the nodes of a database that have been checked; data on others of its nodes is deleted.
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

/// Reports a failed session with a node of this backend's database, so that the worker checks it at once. A node known
/// to be unresponsive is checked anyway.
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

/// Health of a node of this backend's database; None if unknown.
pub fn of(node: i32) -> Option<Health> {
    let database = session::database_id();
    let slots = NODES_SEEN.share();
    let slot = slots.nodes.iter().find(|slot| slot.database == database && slot.node == node)?;
    Some(slot.health).filter(|health| health.checked != 0)
}

/// The node's last known primary address, as set by [`set_primary`]; 0 if unknown.
pub fn primary(node: i32) -> u64 {
    let slots = NODES_SEEN.share();
    let database = session::database_id();
    let slot = slots.nodes.iter().find(|slot| slot.database == database && slot.node == node);
    slot.map_or(0, |slot| slot.primary)
}

/// Records a node's primary address as any number that identifies it.
pub fn set_primary(node: i32, address: u64) {
    if primary(node) == address {
        return;
    }
    if let Some(slot) = NODES_SEEN.exclusive().find_or_take(session::database_id(), node) {
        slot.primary = address;
    }
}

/// Whether this server has been registered as the node's coordinator since the server's start.
pub fn is_claimed(node: i32) -> bool {
    let database = session::database_id();
    let slots = NODES_SEEN.share();
    slots.nodes.iter().any(|slot| slot.database == database && slot.node == node && slot.claimed)
}

/// Records whether the node accepts this server as its coordinator.
pub fn set_claimed(node: i32, claimed: bool) {
    if is_claimed(node) != claimed
        && let Some(slot) = NODES_SEEN.exclusive().find_or_take(session::database_id(), node)
    {
        slot.claimed = claimed;
    }
}

/// Seconds since a point in time.
pub fn age(moment: i64) -> f64 {
    (session::clock() - moment) as f64 / 1e6
}
