//! Progress of each replica in sync as last seen: recorded by the worker that monitors replicas, read by every backend.
//!
//! A replica without an entry counts as far behind, and commits wait for it.

use crate::pg::ipc::shared_memory::{Locked, plain_struct};
use crate::pg::session;

plain_struct! {
    /// State of a replica.
    #[derive(Clone, Copy, Default, Debug)]
    pub struct State {
        /// The migration that created it.
        pub migration: i64,
        /// Everything committed before this time (microseconds since 2000) has been applied; 0 if unknown.
        pub complete_until: i64,
        /// Time of the last check.
        pub seen: i64,
        /// WAL that it has not confirmed, in bytes.
        pub bytes: i64,
        /// End of the WAL that it follows at that time; 0 if unknown.
        pub log_end: i64,
        /// When it failed to confirm a commit in time; 0 if it does. Commits do not wait for it until changes from a
        /// later time have been applied.
        pub degraded: i64,
    }
}

/// Number of replicas in sync in all databases of the server. Any others are neither read from nor known to be
/// degraded.
const COPIES: usize = 4096;

plain_struct! {
    #[derive(Clone, Copy, Default)]
    struct Slot {
        database: u32,
        state: State,
    }
}

plain_struct! {
    pub(super) struct Slots {
        used: usize,
        slots: [Slot; COPIES],
    }
}

pub(super) static STATES: Locked<Slots> = Locked::new(c"helios_replicas");

impl Slots {
    fn find(&mut self, database: u32, migration: i64) -> Option<&mut State> {
        let is = |slot: &&mut Slot| slot.database == database && slot.state.migration == migration;
        self.slots[..self.used].iter_mut().find(is).map(|slot| &mut slot.state)
    }

    fn add(&mut self, database: u32, state: State) {
        if let Some(slot) = self.slots.get_mut(self.used) {
            *slot = Slot { database, state };
            self.used += 1;
        }
    }

    fn retain(&mut self, keep: impl Fn(&Slot) -> bool) {
        let mut to = 0;
        for from in 0..self.used {
            let slot = self.slots[from];
            if keep(&slot) {
                self.slots[to] = slot;
                to += 1;
            }
        }
        self.used = to;
    }
}

/// Records the states of this database's replicas; others are deleted. A degraded one stays so until something written
/// after that has been applied. Returns the migrations whose replicas have recovered.
pub fn note(states: &[State]) -> Vec<i64> {
    let database = session::database_id();
    let mut back = Vec::new();
    let mut slots = STATES.exclusive();
    slots.retain(|slot| {
        let migration = slot.state.migration;
        slot.database != database || states.iter().any(|state| state.migration == migration)
    });
    for state in states {
        match slots.find(database, state.migration) {
            Some(known) => {
                // A check without a response does not reset anything.
                let complete_until = state.complete_until.max(known.complete_until);
                let (bytes, log_end) = match state.log_end {
                    0 => (known.bytes, known.log_end),
                    end => (state.bytes, end),
                };
                let mut degraded = known.degraded;
                if degraded != 0 && complete_until > degraded {
                    degraded = 0;
                    back.push(state.migration);
                }
                *known = State { degraded, complete_until, bytes, log_end, ..*state };
            }
            None => slots.add(database, *state),
        }
    }
    back
}

/// State of a replica of this database.
pub fn of(migration: i64) -> Option<State> {
    let database = session::database_id();
    let slots = STATES.share();
    let is = |slot: &&Slot| slot.database == database && slot.state.migration == migration;
    slots.slots[..slots.used].iter().find(is).map(|slot| slot.state)
}

/// All known replicas of this database.
pub fn all() -> Vec<State> {
    let database = session::database_id();
    let slots = STATES.share();
    let ours = slots.slots[..slots.used].iter().filter(|slot| slot.database == database);
    ours.map(|slot| slot.state).collect()
}

/// Marks a replica as degraded because it has not confirmed a commit in time: commits do not wait for it until it is in
/// sync again. Returns whether that is new.
pub fn degrade(migration: i64) -> bool {
    let database = session::database_id();
    let degraded = session::clock();
    let mut slots = STATES.exclusive();
    match slots.find(database, migration) {
        Some(state) if state.degraded != 0 => false,
        Some(state) => {
            state.degraded = degraded;
            true
        }
        None => {
            slots.add(database, State { migration, degraded, ..State::default() });
            true
        }
    }
}
