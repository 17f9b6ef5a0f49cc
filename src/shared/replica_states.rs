//! How far each copy in step is, as last seen: noted by the worker that follows the copies, read by every backend.
//!
//! A copy that nothing is noted of is taken for one that is far behind, and that commits wait for.

use crate::pg::ipc::shared_memory::{Locked, plain_struct};
use crate::pg::session;

plain_struct! {
    /// What is known of a copy.
    #[derive(Clone, Copy, Default, Debug)]
    pub struct State {
        /// The migration that made it.
        pub migration: i64,
        /// Whatever was committed before this moment (microseconds since 2000) has been applied; 0: not known.
        pub complete_until: i64,
        /// When it was looked at.
        pub seen: i64,
        /// Bytes of the log that it has not confirmed.
        pub bytes: i64,
        /// End of the log that it follows, at that moment; 0: not known.
        pub log_end: i64,
        /// When it did not confirm a commit in time; 0: it does. It is not waited for until a later moment has been applied.
        pub degraded: i64,
    }
}

/// Copies in step on all databases of the server. One more is neither read from nor known to be degraded.
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

/// Notes what was seen of the copies of this database; others are forgotten. One that is degraded stays so until
/// something that was written after that has been applied. Gives the migrations whose copies are back.
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
                // A look that got no answer takes nothing back.
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

/// What is known of a copy of this database.
pub fn of(migration: i64) -> Option<State> {
    let database = session::database_id();
    let slots = STATES.share();
    let is = |slot: &&Slot| slot.database == database && slot.state.migration == migration;
    slots.slots[..slots.used].iter().find(is).map(|slot| slot.state)
}

/// All copies of this database that something is known of.
pub fn all() -> Vec<State> {
    let database = session::database_id();
    let slots = STATES.share();
    let ours = slots.slots[..slots.used].iter().filter(|slot| slot.database == database);
    ours.map(|slot| slot.state).collect()
}

/// A copy has not confirmed a commit in time: commits do not wait for it until it is in step again. Whether that is new.
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
