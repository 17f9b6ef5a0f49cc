//! Communication between backends, workers and the launcher about the databases of the server.

use crate::pg::ipc::process;
use crate::pg::ipc::shared_memory::{Locked, plain_enum, plain_struct};
use crate::pg::session;

plain_enum! {
    /// Knowledge about a database's prepared transactions.
    #[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
    pub enum Work {
        /// Nothing yet.
        #[default]
        Unknown,
        /// Everything was finished at the last check.
        Done,
        /// Something may have to be finished or cleaned up.
        Pending,
    }
}

const SLOTS: usize = 256;
/// Number of migration workers per database that can be terminated; more than run at the same time.
const MIGRATIONS: usize = 8;
/// How long a database is left alone after [`hold`], in microseconds: longer than the server waits for other sessions
/// to leave a database.
const HOLD: i64 = 8_000_000;

plain_struct! {
    #[derive(Clone, Copy, Default)]
    struct Slot {
        database: u32,
        work: Work,
        /// A worker is needed as long as the database has nodes.
        resident: bool,
        /// PID of the worker; 0 if there is none.
        worker: i32,
        /// PIDs of the workers of its migrations.
        migrations: [i32; MIGRATIONS],
        /// No worker is started until then (microseconds since 2000).
        held_until: i64,
    }
}

plain_struct! {
    pub(super) struct Slots {
        databases: [Slot; SLOTS],
        /// Databases are waiting for another one's worker to exit.
        databases_wait: bool,
    }
}

pub(super) static WORK: Locked<Slots> = Locked::new(c"helios_work");

/// Changes a database's slot. When all slots are in use, a database without work is replaced; databases without a slot
/// are found by the launcher's rounds.
fn change(database: u32, change: impl FnOnce(&mut Slot)) {
    let mut slots = WORK.exclusive();
    let is_idle = |slot: &Slot| {
        !slot.resident
            && slot.worker == 0
            && slot.migrations == [0; MIGRATIONS]
            && slot.work != Work::Pending
    };
    let own = slots.databases.iter().position(|slot| slot.database == database);
    let Some(at) = own.or_else(|| slots.databases.iter().position(is_idle)) else { return };
    if own.is_none() {
        slots.databases[at] = Slot { database, ..Slot::default() };
    }
    change(&mut slots.databases[at]);
}

fn read<R: Default>(database: u32, read: impl FnOnce(&Slot) -> R) -> R {
    let slots = WORK.share();
    slots.databases.iter().find(|slot| slot.database == database).map(read).unwrap_or_default()
}

fn select(wanted: impl Fn(&Slot) -> bool) -> Vec<u32> {
    let slots = WORK.share();
    slots
        .databases
        .iter()
        .filter(|slot| slot.database != 0 && wanted(slot))
        .map(|s| s.database)
        .collect()
}

/// Records the knowledge about a database.
pub fn note(database: u32, work: Work) {
    change(database, |slot| slot.work = work);
}

/// The knowledge about a database.
pub fn of_database(database: u32) -> Work {
    read(database, |slot| slot.work)
}

/// Databases with work to do.
pub fn pending() -> Vec<u32> {
    select(|slot| slot.work == Work::Pending)
}

/// Databases that need a permanent worker.
pub fn resident() -> Vec<u32> {
    select(|slot| slot.resident)
}

/// Sets whether a database needs a permanent worker.
pub fn set_resident(database: u32, resident: bool) {
    change(database, |slot| slot.resident = resident);
}

/// Registers this process as the worker of its database until it exits.
pub fn arrive() {
    let pid = process::own_id();
    process::at_exit(leave);
    change(session::database_id(), |slot| slot.worker = pid);
}

/// Registers this process as the worker of a migration of its database until it exits.
pub fn arrive_for_migration() {
    let pid = process::own_id();
    process::at_exit(leave_migration);
    change(session::database_id(), |slot| {
        if let Some(free) = slot.migrations.iter_mut().find(|pid| **pid == 0) {
            *free = pid;
        }
    });
}

fn leave_migration(_code: i32) {
    let own = process::own_id();
    change(session::database_id(), |slot| {
        slot.migrations.iter_mut().filter(|pid| **pid == own).for_each(|pid| *pid = 0);
    });
}

fn leave(code: i32) {
    change(session::database_id(), |slot| {
        slot.worker = 0;
        // It exited prematurely, so its work must be repeated.
        if code != 0 {
            slot.work = Work::Pending;
        }
    });
}

/// Wakes up a database's worker, if it has one.
pub fn wake(database: u32) {
    let pid = read(database, |slot| slot.worker);
    if pid != 0 {
        process::set_latch(pid);
    }
}

/// Terminates a database's workers for a while, because the server is about to execute a command that requires that no
/// session is connected to the database.
pub fn hold(database: u32) {
    let until = session::clock() + HOLD;
    let mut workers = Vec::new();
    change(database, |slot| {
        slot.held_until = until;
        workers = slot.migrations.to_vec();
        workers.push(slot.worker);
    });
    // A worker clears its slot before it exits, so the signal never reaches another process.
    workers.into_iter().filter(|pid| *pid != 0).for_each(process::terminate);
}

/// Whether no worker may be started for a database now.
pub fn is_held(database: u32) -> bool {
    let now = session::clock();
    read(database, |slot| slot.held_until) > now
}

/// Sets whether databases are waiting for another one's worker to exit, and wakes up the workers if so.
pub fn set_databases_waiting(databases_wait: bool) {
    let mut slots = WORK.exclusive();
    slots.databases_wait = databases_wait;
    let workers: Vec<i32> =
        slots.databases.iter().map(|slot| slot.worker).filter(|pid| *pid != 0).collect();
    drop(slots);
    if databases_wait {
        workers.into_iter().for_each(process::set_latch);
    }
}

/// Whether databases are waiting for another one's worker to exit.
pub fn are_databases_waiting() -> bool {
    WORK.share().databases_wait
}

/// Removes a dropped database.
pub fn forget(database: u32) {
    change(database, |slot| {
        *slot = Slot { database, held_until: slot.held_until, ..Slot::default() }
    });
}
