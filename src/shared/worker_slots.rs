//! What backends, workers and the launcher tell each other about the databases of the server.

use crate::pg::ipc::process;
use crate::pg::ipc::shared_memory::{Locked, plain_enum, plain_struct};
use crate::pg::session;

plain_enum! {
    /// What is known of a database's prepared transactions.
    #[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
    pub enum Work {
        /// Nothing yet.
        #[default]
        Unknown,
        /// Everything was finished when last looked at.
        Done,
        /// Something may have to be finished or tidied up.
        Pending,
    }
}

const SLOTS: usize = 256;
/// Migrations of a database whose workers can be sent away; that is more than work at the same time.
const MIGRATIONS: usize = 8;
/// How long a database is left alone after [`hold`], in microseconds: longer than the server waits for others to
/// leave a database.
const HOLD: i64 = 8_000_000;

plain_struct! {
    #[derive(Clone, Copy, Default)]
    struct Slot {
        database: u32,
        work: Work,
        /// A worker is wanted as long as the database has nodes.
        resident: bool,
        /// Process id of the worker; 0: none.
        worker: i32,
        /// Process ids of the workers of its migrations.
        migrations: [i32; MIGRATIONS],
        /// No worker until then (microseconds since 2000).
        held_until: i64,
    }
}

plain_struct! {
    pub(super) struct Slots {
        databases: [Slot; SLOTS],
        /// Databases wait for another one's worker to make room.
        crowded: bool,
    }
}

pub(super) static WORK: Locked<Slots> = Locked::new(c"helios_work");

/// Changes a database's slot. When every slot is taken, a database with nothing to do makes room; the launcher's
/// rounds find what found no slot.
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

/// Notes what is known of a database.
pub fn note(database: u32, work: Work) {
    change(database, |slot| slot.work = work);
}

/// What is known of a database.
pub fn of_database(database: u32) -> Work {
    read(database, |slot| slot.work)
}

/// Databases that have something to do.
pub fn pending() -> Vec<u32> {
    select(|slot| slot.work == Work::Pending)
}

/// Databases that want a worker all the time.
pub fn resident() -> Vec<u32> {
    select(|slot| slot.resident)
}

/// Says whether a database wants a worker all the time.
pub fn set_resident(database: u32, resident: bool) {
    change(database, |slot| slot.resident = resident);
}

/// This process is the worker of its database until it ends.
pub fn arrive() {
    let pid = process::own_id();
    process::at_exit(leave);
    change(session::database_id(), |slot| slot.worker = pid);
}

/// This process works on a migration of its database until it ends.
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
        // It did not come to its end: what it was at has to be begun again.
        if code != 0 {
            slot.work = Work::Pending;
        }
    });
}

/// Wakes a database's worker, if it has one.
pub fn wake(database: u32) {
    let pid = read(database, |slot| slot.worker);
    if pid != 0 {
        process::set_latch(pid);
    }
}

/// Sends a database's workers away for a while: the server is about to do something for which nobody may be connected
/// to the database.
pub fn hold(database: u32) {
    let until = session::clock() + HOLD;
    let mut workers = Vec::new();
    change(database, |slot| {
        slot.held_until = until;
        workers = slot.migrations.to_vec();
        workers.push(slot.worker);
    });
    // A worker clears its slot before it ends, so the signal reaches it or nobody.
    workers.into_iter().filter(|pid| *pid != 0).for_each(process::terminate);
}

/// Whether no worker may be started for a database now.
pub fn is_held(database: u32) -> bool {
    let now = session::clock();
    read(database, |slot| slot.held_until) > now
}

/// Says whether databases wait for another one's worker to make room, and wakes the workers if so.
pub fn set_crowded(crowded: bool) {
    let mut slots = WORK.exclusive();
    slots.crowded = crowded;
    let workers: Vec<i32> =
        slots.databases.iter().map(|slot| slot.worker).filter(|pid| *pid != 0).collect();
    drop(slots);
    if crowded {
        workers.into_iter().for_each(process::set_latch);
    }
}

/// Whether databases wait for another one's worker to make room.
pub fn is_crowded() -> bool {
    WORK.share().crowded
}

/// The database is gone.
pub fn forget(database: u32) {
    change(database, |slot| {
        *slot = Slot { database, held_until: slot.held_until, ..Slot::default() }
    });
}
