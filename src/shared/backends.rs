//! Information that backends publish for distributed deadlock detection: their sessions with nodes, and long waits for
//! nodes. The worker of a database uses it to determine which session waits for which on a node.
//!
//! Nothing is written here in the normal course of a statement: only when a session is opened or closed, and when a
//! wait exceeds `deadlock_timeout`.

use crate::pg::ipc::process;
use crate::pg::ipc::shared_memory::{Locked, plain_struct};
use crate::pg::session::{self, xact};
use crate::shared::worker_slots;
use std::cell::Cell;

/// Number of backends that can be published. Deadlocks that involve others are not detected.
const BACKENDS: usize = 2048;
/// Number of sessions per backend that can be published.
const SESSIONS: usize = 64;
/// Number of members of a deadlock that are reported by its victim.
const MEMBERS: usize = 8;

plain_struct! {
    #[derive(Clone, Copy)]
    pub(super) struct Slot {
        /// PID; 0 if the slot is free.
        pid: i32,
        database: u32,
        /// Node and PID there; (0, 0) if unused.
        sessions: [(i32, i32); SESSIONS],
        /// Start of a long wait for a node; 0 if there is none.
        waiting_since: i64,
        /// Start of its transaction.
        begun: i64,
        /// PIDs here of the deadlock whose victim it is; all 0 if it is not a victim.
        deadlock: [i32; MEMBERS],
    }
}

const FREE: Slot = Slot {
    pid: 0,
    database: 0,
    sessions: [(0, 0); SESSIONS],
    waiting_since: 0,
    begun: 0,
    deadlock: [0; MEMBERS],
};

pub(super) static SLOTS: Locked<[Slot; BACKENDS]> = Locked::new(c"helios_backends");

thread_local! {
    /// This backend's slot.
    static OWN: Cell<Option<usize>> = const { Cell::new(None) };
}

/// This backend's slot, allocated on first use; None if all are in use.
fn claim() -> Option<usize> {
    if let Some(at) = OWN.get() {
        return Some(at);
    }
    let mut slots = SLOTS.exclusive();
    let at = slots.iter().position(|slot| slot.pid == 0)?;
    slots[at] = Slot { pid: process::own_id(), database: session::database_id(), ..FREE };
    drop(slots);
    OWN.set(Some(at));
    process::at_exit(leave);
    Some(at)
}

fn leave(_code: i32) {
    if let Some(at) = OWN.take() {
        SLOTS.exclusive()[at] = FREE;
    }
}

/// Publishes a new session of this backend with a node; `pid` is its process there.
pub fn opened(node: i32, pid: i32) {
    let Some(at) = claim() else { return };
    let mut slots = SLOTS.exclusive();
    if let Some(free) = slots[at].sessions.iter_mut().find(|session| session.1 == 0) {
        *free = (node, pid);
    }
}

/// Removes a closed session.
pub fn closed(node: i32, pid: i32) {
    let Some(at) = OWN.get() else { return };
    let mut slots = SLOTS.exclusive();
    if let Some(session) = slots[at].sessions.iter_mut().find(|s| **s == (node, pid)) {
        *session = (0, 0);
    }
}

/// Publishes a long wait of this backend for a node until it is dropped.
pub struct LongWait {
    slot: usize,
}

impl LongWait {
    /// Begins the wait. None if this backend has no slot.
    pub fn begin() -> Option<Self> {
        let slot = claim()?;
        let mut slots = SLOTS.exclusive();
        let (now, begun) = (session::clock(), xact::began_at());
        let own = &mut slots[slot];
        (own.waiting_since, own.begun, own.deadlock) = (now, begun, [0; MEMBERS]);
        let database = own.database;
        drop(slots);
        worker_slots::wake(database);
        Some(Self { slot })
    }

    /// PIDs here of the deadlock whose victim this wait has become; empty if it has not.
    pub fn deadlock(&self) -> Vec<i32> {
        let slots = SLOTS.share();
        slots[self.slot].deadlock.iter().copied().filter(|&pid| pid != 0).collect()
    }
}

impl Drop for LongWait {
    fn drop(&mut self) {
        let mut slots = SLOTS.exclusive();
        let own = &mut slots[self.slot];
        (own.waiting_since, own.deadlock) = (0, [0; MEMBERS]);
    }
}

/// The published state of a backend.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Process id.
    pub pid: i32,
    /// Node and PID there of each of its sessions.
    pub sessions: Vec<(i32, i32)>,
    /// Start of a long wait for a node, if there is one.
    pub waiting_since: Option<i64>,
    /// Start of its transaction, if it waits.
    pub begun: i64,
}

/// Whether a backend of the database is in a long wait for a node.
pub fn any_waits(database: u32) -> bool {
    SLOTS.share().iter().any(|s| s.pid != 0 && s.database == database && s.waiting_since != 0)
}

/// The backends of a database.
pub fn of_database(database: u32) -> Vec<Backend> {
    let slots = SLOTS.share();
    let ours = slots.iter().filter(|slot| slot.pid != 0 && slot.database == database);
    ours.map(|slot| Backend {
        pid: slot.pid,
        sessions: slot.sessions.iter().copied().filter(|session| session.1 != 0).collect(),
        waiting_since: (slot.waiting_since != 0).then_some(slot.waiting_since),
        begun: slot.begun,
    })
    .collect()
}

/// Makes a backend the victim of a deadlock, if it is still in the same wait: it raises 40P01 itself.
pub fn condemn(pid: i32, waiting_since: i64, members: &[i32]) {
    let mut slots = SLOTS.exclusive();
    let Some(slot) = slots.iter_mut().find(|s| s.pid == pid && s.waiting_since == waiting_since)
    else {
        return;
    };
    for (to, member) in slot.deadlock.iter_mut().zip(members) {
        *to = *member;
    }
    drop(slots);
    process::set_latch(pid);
}
