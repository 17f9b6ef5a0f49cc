//! What the backends of this server show each other: their sessions to nodes, and who has waited for a node so long
//! that it may be a deadlock. With it the worker of a database can tell whose session waits for whom on a node.
//!
//! Nothing is written here on the usual way of a statement: only when a session is made or closed, and when a wait
//! takes longer than `deadlock_timeout`.

#![allow(unexpected_cfgs)] // pg_shmem_init asks for versions that this crate has no feature for

use pgrx::prelude::*;
use pgrx::{PGRXSharedMemory, PgLwLock, pg_shmem_init};
use std::cell::Cell;
use std::time::Duration;

/// Backends that can show something at a time. Deadlocks in which others take part are not found.
const BACKENDS: usize = 2048;
/// Sessions to nodes that one backend can show.
const SESSIONS: usize = 64;
/// Members of a deadlock that its victim can name.
const MEMBERS: usize = 8;

#[derive(Clone, Copy)]
struct Slot {
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

const FREE: Slot = Slot {
    pid: 0,
    database: 0,
    sessions: [(0, 0); SESSIONS],
    waiting_since: 0,
    begun: 0,
    deadlock: [0; MEMBERS],
};

#[derive(Clone, Copy)]
struct Slots([Slot; BACKENDS]);

impl Default for Slots {
    fn default() -> Self {
        Self([FREE; BACKENDS])
    }
}

// SAFETY: plain values, meaningful in every process.
unsafe impl PGRXSharedMemory for Slots {}

// SAFETY: the name is unique to this use, and the memory is asked for in `install`, from `_PG_init`.
static SLOTS: PgLwLock<Slots> = unsafe { PgLwLock::new(c"helios_backends") };

thread_local! {
    /// This backend's slot.
    static OWN: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Asks the postmaster for the memory.
pub fn install() {
    pg_shmem_init!(SLOTS);
}

fn own_pid() -> i32 {
    // SAFETY: set once at the start of the process.
    unsafe { pg_sys::MyProcPid }
}

/// This backend's slot, taken if it had none; None when all are taken.
fn claim() -> Option<usize> {
    if let Some(at) = OWN.get() {
        return Some(at);
    }
    let mut slots = SLOTS.exclusive();
    let at = slots.0.iter().position(|slot| slot.pid == 0)?;
    // SAFETY: reads a variable of this backend.
    let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    slots.0[at] = Slot { pid: own_pid(), database, ..FREE };
    drop(slots);
    OWN.set(Some(at));
    // SAFETY: the callback lives as long as the process.
    unsafe { pg_sys::before_shmem_exit(Some(leave), pg_sys::Datum::null()) }
    Some(at)
}

unsafe extern "C-unwind" fn leave(_code: i32, _argument: pg_sys::Datum) {
    if let Some(at) = OWN.take() {
        SLOTS.exclusive().0[at] = FREE;
    }
}

/// A session of this backend to a node was made; `pid`: the process that serves it there.
pub fn opened(node: i32, pid: i32) {
    let Some(at) = claim() else { return };
    let mut slots = SLOTS.exclusive();
    if let Some(free) = slots.0[at].sessions.iter_mut().find(|session| session.1 == 0) {
        *free = (node, pid);
    }
}

/// The session is closed.
pub fn closed(node: i32, pid: i32) {
    let Some(at) = OWN.get() else { return };
    let mut slots = SLOTS.exclusive();
    if let Some(session) = slots.0[at].sessions.iter_mut().find(|s| **s == (node, pid)) {
        *session = (0, 0);
    }
}

/// After which time a wait may be a deadlock.
pub fn deadlock_timeout() -> Duration {
    // SAFETY: a setting, in milliseconds.
    Duration::from_millis(u64::try_from(unsafe { pg_sys::DeadlockTimeout }).unwrap_or(1000))
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
        // SAFETY: reads the clock, and a variable of this backend.
        let (now, begun) = unsafe {
            (pg_sys::GetCurrentTimestamp(), pg_sys::GetCurrentTransactionStartTimestamp())
        };
        let own = &mut slots.0[slot];
        (own.waiting_since, own.begun, own.deadlock) = (now, begun, [0; MEMBERS]);
        let database = own.database;
        drop(slots);
        crate::pg::ipc::worker::wake(database);
        Some(Self { slot })
    }

    /// Process ids here of the deadlock whose victim this wait has become; none if it has not.
    pub fn deadlock(&self) -> Vec<i32> {
        let slots = SLOTS.share();
        slots.0[self.slot].deadlock.iter().copied().filter(|&pid| pid != 0).collect()
    }
}

impl Drop for LongWait {
    fn drop(&mut self) {
        let mut slots = SLOTS.exclusive();
        let own = &mut slots.0[self.slot];
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
    SLOTS.share().0.iter().any(|s| s.pid != 0 && s.database == database && s.waiting_since != 0)
}

/// The backends of a database.
pub fn of_database(database: u32) -> Vec<Backend> {
    let slots = SLOTS.share();
    let ours = slots.0.iter().filter(|slot| slot.pid != 0 && slot.database == database);
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
    let Some(slot) = slots.0.iter_mut().find(|s| s.pid == pid && s.waiting_since == waiting_since)
    else {
        return;
    };
    for (to, member) in slot.deadlock.iter_mut().zip(members) {
        *to = *member;
    }
    drop(slots);
    set_latch(pid);
}

/// Wakes a process of this server, if it is still there.
pub fn set_latch(pid: i32) {
    // SAFETY: the entry of the process array stays valid memory when the process ends; a latch set too often is
    // harmless.
    unsafe {
        let process = pg_sys::BackendPidGetProc(pid);
        if !process.is_null() {
            pg_sys::SetLatch(&raw mut (*process).procLatch);
        }
    }
}
