//! What the backends of this server show each other: their sessions to nodes, and who has waited for a node so long
//! that it may be a deadlock. With it the worker of a database can tell whose session waits for whom on a node.
//!
//! Nothing is written here on the usual way of a statement: only when a session is made or closed, and when a wait
//! takes longer than `deadlock_timeout`.

use crate::pg::ipc::process;
use crate::pg::ipc::shared_memory::{Locked, plain_struct};
use crate::pg::session::{self, xact};
use crate::shared::worker_slots;
use std::cell::Cell;

/// Backends that can show something at a time. Deadlocks in which others take part are not found.
const BACKENDS: usize = 2048;
/// Sessions to nodes that one backend can show.
const SESSIONS: usize = 64;
/// Members of a deadlock that its victim can name.
const MEMBERS: usize = 8;

plain_struct! {
    #[derive(Clone, Copy)]
    pub(super) struct Slot {
        /// Process id; 0: the slot is free.
        pid: i32,
        database: u32,
        /// Node and process id there; (0, 0): none.
        sessions: [(i32, i32); SESSIONS],
        /// Since when it waits for a node, once that was long; 0: it does not.
        waiting_since: i64,
        /// When its transaction began.
        begun: i64,
        /// Process ids here of the deadlock whose victim it is; all 0: it is none.
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

/// This backend's slot, taken if it had none; None when all are taken.
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

/// A session of this backend to a node was made; `pid`: the process that serves it there.
pub fn opened(node: i32, pid: i32) {
    let Some(at) = claim() else { return };
    let mut slots = SLOTS.exclusive();
    if let Some(free) = slots[at].sessions.iter_mut().find(|session| session.1 == 0) {
        *free = (node, pid);
    }
}

/// The session is closed.
pub fn closed(node: i32, pid: i32) {
    let Some(at) = OWN.get() else { return };
    let mut slots = SLOTS.exclusive();
    if let Some(session) = slots[at].sessions.iter_mut().find(|s| **s == (node, pid)) {
        *session = (0, 0);
    }
}

/// Shows, as long as it lives, that this backend waits for a node.
pub struct LongWait {
    slot: usize,
}

impl LongWait {
    /// From now on. None when this backend cannot show anything.
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

    /// Process ids here of the deadlock whose victim this wait has become; none if it has not.
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

/// A backend as it shows itself.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Process id.
    pub pid: i32,
    /// Node and process id there of each of its sessions.
    pub sessions: Vec<(i32, i32)>,
    /// Since when it waits for a node, if that is long.
    pub waiting_since: Option<i64>,
    /// When its transaction began, if it waits.
    pub begun: i64,
}

/// Whether a backend of the database has waited for a node for long.
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

/// Makes a backend the victim of a deadlock, if it is still in the same wait: it raises 40P01 by itself.
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
