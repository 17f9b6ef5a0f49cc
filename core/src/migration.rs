//! The states of a migration and their transitions, independent of PostgreSQL.
//!
//! Invariant: a migration can be canceled before its switch, and rolled back afterwards until it is finished; every
//! path ends, after cleanup, in one of four final states.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The final states as SQL constants, for IN lists: `state NOT IN ({ENDED})` selects migrations in progress.
pub const ENDED: &str = "'finished', 'rolled_back', 'cancelled', 'failed'";

/// State of a migration. Its worker sets each state in the transaction that completes the previous step; `Planned` is
/// set when the migration is started. Read by waiting sessions, the launcher of workers and `helios_migrations`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Nothing has been created on a node yet. Set when the migration is started.
    Planned,
    /// Definitions are frozen; the slot is about to be created, after which no write is missed. Set when all checks
    /// have passed.
    DualWrite,
    /// Rows are being copied. Set when the slot exists and the definition is on the target.
    Backfill,
    /// Changes made since the snapshot are being applied. Set when all rows and indexes exist.
    CatchUp,
    /// The copies are being compared. Set when the target has nearly caught up, and again before a late switch.
    Verify,
    /// The new copy is a replica, which follows until it is promoted or removed. Set, for replicas only, when the
    /// copies were found equal.
    InStep,
    /// The new copy is about to take over. Set when the copies were found equal, or a replica is promoted.
    Switch,
    /// The new copy is active, and changes are replicated back to the old one. Set by the switch's own transaction.
    DualWriteBack,
    /// Objects that are no longer needed are being removed. Set together with the outcome that follows.
    Cleanup,
    /// Final: moved permanently.
    Finished,
    /// Final: moved back.
    RolledBack,
    /// Final: stopped before the switch by a request.
    Cancelled,
    /// Final: stopped before the switch by an error.
    Failed,
}

impl State {
    /// All states, in the order of a migration's life.
    pub const ALL: [State; 13] = [
        State::Planned,
        State::DualWrite,
        State::Backfill,
        State::CatchUp,
        State::Verify,
        State::InStep,
        State::Switch,
        State::DualWriteBack,
        State::Cleanup,
        State::Finished,
        State::RolledBack,
        State::Cancelled,
        State::Failed,
    ];

    /// Its name in the catalog.
    pub fn name(self) -> &'static str {
        match self {
            State::Planned => "planned",
            State::DualWrite => "dual_write",
            State::Backfill => "backfill",
            State::CatchUp => "catch_up",
            State::Verify => "verify",
            State::InStep => "in_step",
            State::Switch => "switch",
            State::DualWriteBack => "dual_write_back",
            State::Cleanup => "cleanup",
            State::Finished => "finished",
            State::RolledBack => "rolled_back",
            State::Cancelled => "cancelled",
            State::Failed => "failed",
        }
    }

    /// Whether the state is final; in SQL, [`ENDED`].
    pub fn is_last(self) -> bool {
        self >= State::Finished
    }

    /// Whether at most cleanup is left to do.
    pub fn is_over(self) -> bool {
        self >= State::Cleanup
    }

    /// Whether the old copy is still the active one.
    pub fn is_before_switch(self) -> bool {
        self <= State::Switch
    }

    /// Whether the state allows the request.
    pub fn allows(self, request: Request) -> bool {
        match request {
            Request::Cancel => self.is_before_switch(),
            Request::RollBack | Request::Finish => self == State::DualWriteBack,
            Request::Verify => matches!(self, State::InStep | State::DualWriteBack),
            Request::Promote => {
                matches!(self, State::InStep | State::Switch | State::DualWriteBack)
            }
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A text that is not the name of a state, request or outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unrecognized migration state or request \"{0}\"")]
pub struct Unknown(pub String);

impl FromStr for State {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Self, Unknown> {
        State::ALL.into_iter().find(|state| state.name() == name).ok_or(Unknown(name.into()))
    }
}

/// A request of a user, or of the worker of replicas, to a migration in progress. The migration's worker reads and
/// clears it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Stop, and keep the old copy active.
    Cancel,
    /// Switch back to the old copy.
    RollBack,
    /// End the rollback window now.
    Finish,
    /// Compare the two copies again.
    Verify,
    /// Switch to the replica.
    Promote,
}

impl Request {
    /// All requests.
    pub const ALL: [Request; 5] =
        [Request::Cancel, Request::RollBack, Request::Finish, Request::Verify, Request::Promote];

    /// Its name in the catalog.
    pub fn name(self) -> &'static str {
        match self {
            Request::Cancel => "cancel",
            Request::RollBack => "rollback",
            Request::Finish => "finish",
            Request::Verify => "verify",
            Request::Promote => "promote",
        }
    }
}

impl FromStr for Request {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Self, Unknown> {
        Request::ALL.into_iter().find(|request| request.name() == name).ok_or(Unknown(name.into()))
    }
}

/// Time until the next attempt: doubles from `first` up to `most`. `tries` attempts have failed so far.
pub fn back_off(tries: u32, first: Duration, most: Duration) -> Duration {
    first.saturating_mul(1 << tries.saturating_sub(1).min(20)).min(most)
}

/// Splits a table of `blocks` blocks into ranges `[from, to)` of at most `step` blocks. The last one has no end: the
/// table may have grown; later rows are not visible to the snapshot, but are cheap to skip.
pub fn ranges(blocks: u64, step: u64) -> Vec<(u64, Option<u64>)> {
    let step = step.max(1);
    let count = blocks.div_ceil(step).max(1);
    (0..count).map(|n| (n * step, (n + 1 < count).then_some((n + 1) * step))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_read_back() {
        for state in State::ALL {
            assert_eq!(state.name().parse(), Ok(state));
        }
        for request in Request::ALL {
            assert_eq!(request.name().parse(), Ok(request));
        }
        assert_eq!("moving".parse::<State>(), Err(Unknown("moving".into())));
    }

    #[test]
    fn last_states_are_the_same_in_sql() {
        let last = State::ALL.into_iter().filter(|state| state.is_last());
        let quoted: Vec<_> = last.map(|state| format!("'{state}'")).collect();
        assert_eq!(quoted.join(", "), ENDED);
    }

    #[test]
    fn there_is_a_way_out_of_every_state_until_clean_up() {
        for state in State::ALL {
            let ways = [Request::Cancel, Request::RollBack, Request::Finish];
            let open = ways.iter().filter(|request| state.allows(**request)).count();
            assert_eq!(open > 0, state < State::Cleanup, "{state}");
            assert_eq!(state.allows(Request::Cancel), state.is_before_switch());
        }
    }

    #[test]
    fn pauses_double_up_to_the_most() {
        let pause =
            |tries| back_off(tries, Duration::from_secs(1), Duration::from_secs(30)).as_secs();
        assert_eq!([0, 1, 2, 3, 6, 99].map(pause), [1, 1, 2, 4, 30, 30]);
    }

    proptest! {
        #[test]
        fn ranges_cover_every_block_once(blocks in 0u64..100_000, step in 0u64..5_000) {
            let ranges = ranges(blocks, step);
            let mut next = 0;
            for (i, (from, to)) in ranges.iter().enumerate() {
                prop_assert_eq!(*from, next);
                prop_assert_eq!(to.is_none(), i + 1 == ranges.len());
                next = to.unwrap_or(u64::MAX);
            }
            prop_assert!(ranges.len() as u64 <= blocks / step.max(1) + 1);
        }
    }
}
