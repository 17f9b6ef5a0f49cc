//! The states of a migration and what may follow each, without PostgreSQL.
//!
//! Invariant: a migration that has not switched can always be cancelled, one that has can be rolled back until it is
//! finished, and every way ends, over clean-up, in one of four last states.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The last states as SQL constants, for lists of IN: `state NOT IN ({ENDED})` says that a migration is under way.
pub const ENDED: &str = "'finished', 'rolled_back', 'cancelled', 'failed'";

/// Where a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Nothing was made on a node yet.
    Planned,
    /// From here no write is missed.
    DualWrite,
    /// Rows are copied.
    Backfill,
    /// What happened since is applied.
    CatchUp,
    /// Both copies are compared.
    Verify,
    /// The new copy is kept as it is: a replica, which follows until it is promoted or no longer wanted.
    InStep,
    /// The new copy takes over.
    Switch,
    /// It has; writes flow back to the old copy.
    DualWriteBack,
    /// What is no longer needed is removed.
    Cleanup,
    /// Last: moved for good.
    Finished,
    /// Last: moved back.
    RolledBack,
    /// Last: stopped before the switch, by someone's wish.
    Cancelled,
    /// Last: stopped before the switch, by an error.
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

    /// Whether nothing follows; in SQL, [`ENDED`].
    pub fn is_last(self) -> bool {
        self >= State::Finished
    }

    /// Whether the old copy is still the one that clients use.
    pub fn is_before_switch(self) -> bool {
        self <= State::Switch
    }

    /// What may be asked of a migration in this state.
    pub fn allows(self, wish: Wish) -> bool {
        match wish {
            Wish::Cancel => self.is_before_switch(),
            Wish::RollBack | Wish::Finish => self == State::DualWriteBack,
            Wish::Verify => matches!(self, State::InStep | State::DualWriteBack),
            Wish::Promote => {
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

/// A word that names no state, wish or outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no word of migrations")]
pub struct Unknown(pub String);

impl FromStr for State {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Self, Unknown> {
        State::ALL.into_iter().find(|state| state.name() == name).ok_or(Unknown(name.into()))
    }
}

/// What someone asks of a migration under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Stop, and leave the old copy in use.
    Cancel,
    /// Go back to the old copy.
    RollBack,
    /// Do not wait for the rollback window to end.
    Finish,
    /// Compare the two copies again.
    Verify,
    /// Use the copy that is kept in step.
    Promote,
}

impl Wish {
    /// All that can be asked.
    pub const ALL: [Wish; 5] =
        [Wish::Cancel, Wish::RollBack, Wish::Finish, Wish::Verify, Wish::Promote];

    /// Its name in the catalog.
    pub fn name(self) -> &'static str {
        match self {
            Wish::Cancel => "cancel",
            Wish::RollBack => "rollback",
            Wish::Finish => "finish",
            Wish::Verify => "verify",
            Wish::Promote => "promote",
        }
    }
}

impl FromStr for Wish {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Self, Unknown> {
        Wish::ALL.into_iter().find(|wish| wish.name() == name).ok_or(Unknown(name.into()))
    }
}

/// How long to wait before the next try: doubles from `first` up to `most`. `tries` have failed so far.
pub fn back_off(tries: u32, first: Duration, most: Duration) -> Duration {
    first.saturating_mul(1 << tries.saturating_sub(1).min(20)).min(most)
}

/// Cuts a table of `blocks` into ranges `[from, to)` of at most `step` blocks. The last has no end: the table may
/// have grown, and rows beyond are not visible to the snapshot, but cost nothing to look at.
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
        for wish in Wish::ALL {
            assert_eq!(wish.name().parse(), Ok(wish));
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
            let ways = [Wish::Cancel, Wish::RollBack, Wish::Finish];
            let open = ways.iter().filter(|wish| state.allows(**wish)).count();
            assert_eq!(open > 0, state < State::Cleanup, "{state}");
            assert_eq!(state.allows(Wish::Cancel), state.is_before_switch());
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
