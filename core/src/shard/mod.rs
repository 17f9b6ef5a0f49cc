//! Pooled shards: rectangles in slot × key space.
//!
//! Job: cut the space into shards for each placement strategy, find the shard of a key, and make
//! sure that the shards cover the space.
//! Invariant: a [`Space`] exists only if its rectangles cover the whole space once; so every key
//! has one shard.
//! Locks: none; the whole folder is pure.
//!
//! Hash bounds the slots alone, range the keys alone, composite both. A dedicated shard is no part
//! of the space: it holds one schema, which the directory names. Keys are compared byte by byte
//! (collation "C").

mod place;
mod space;

#[cfg(test)]
mod tests;

pub use place::{Candidate, Decision, PlaceError, place};
pub use space::{CoverError, Space};

use crate::slot::SLOTS;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// How new schemas are placed (`helios.placement_strategy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Strategy {
    /// By the slot of the key.
    #[default]
    Hash,
    /// By the key's place in the order of keys.
    Range,
    /// By both.
    Composite,
    /// A dedicated shard on the node with the least load.
    LeastLoaded,
}

impl Strategy {
    /// All strategies.
    pub const ALL: [Strategy; 4] =
        [Strategy::Hash, Strategy::Range, Strategy::Composite, Strategy::LeastLoaded];

    /// Its name in settings and options.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Hash => "hash",
            Strategy::Range => "range",
            Strategy::Composite => "composite",
            Strategy::LeastLoaded => "least_loaded",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A name that no strategy has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown placement strategy \"{0}\"")]
pub struct UnknownStrategy(pub String);

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Strategy::ALL.into_iter().find(|strategy| strategy.name() == name);
        known.ok_or_else(|| UnknownStrategy(name.into()))
    }
}

/// A range of keys in byte order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct KeyRange {
    /// The first key; None: from the very first.
    pub from: Option<String>,
    /// Behind the last key; None: to the very last.
    pub to: Option<String>,
}

impl KeyRange {
    /// Does it hold this key?
    pub fn contains(&self, key: &str) -> bool {
        self.from.as_deref().is_none_or(|from| from <= key)
            && self.to.as_deref().is_none_or(|to| key < to)
    }

    fn is_empty(&self) -> bool {
        // nothing sorts before the empty key
        self.to.as_deref().is_some_and(|to| to <= self.from.as_deref().unwrap_or(""))
    }
}

/// The bounds of a pooled shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rectangle {
    /// Slots, within `0..SLOTS`.
    pub slots: Range<u16>,
    /// Keys.
    pub keys: KeyRange,
}

impl Rectangle {
    /// The whole space.
    pub fn whole() -> Self {
        Rectangle { slots: 0..SLOTS, keys: KeyRange::default() }
    }

    /// Does it hold this key, whose slot is given?
    pub fn contains(&self, slot: u16, key: &str) -> bool {
        self.slots.contains(&slot) && self.keys.contains(key)
    }
}

/// What a shard holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Bounds {
    /// All schemas whose keys lie in the rectangle and that were placed by slot or key.
    Pooled(Rectangle),
    /// One schema, placed on a node by load or by name.
    Dedicated,
}

/// The pooled shards that a cluster starts with: about equal parts, `count` of them (taken as the
/// nearest number in `1..=16384`).
///
/// - hash, least_loaded: slots in `count` runs;
/// - range: borders spread evenly over the names that start with a letter or underscore and go on
///   with lower-case letters, digits and underscores. Names of one prefix share a shard until it
///   is split;
/// - composite: a grid of slots × keys, as square as `count` allows, with no fewer slot runs than
///   key ranges.
pub fn initial(strategy: Strategy, count: u32) -> Vec<Rectangle> {
    let count = count.clamp(1, u32::from(SLOTS));
    let columns = match strategy {
        Strategy::Hash | Strategy::LeastLoaded => 1,
        Strategy::Range => count,
        Strategy::Composite => divisor(count),
    };
    let rows = count / columns;
    let border = |part: u32| (u32::from(SLOTS) * part / rows) as u16;
    let slots = (0..rows).map(|row| border(row)..border(row + 1));
    let rectangle = |slots: &Range<u16>, column: u32| Rectangle {
        slots: slots.clone(),
        keys: KeyRange {
            from: (column > 0).then(|| key_border(column, columns)),
            to: (column + 1 < columns).then(|| key_border(column + 1, columns)),
        },
    };
    slots.flat_map(|slots| (0..columns).map(move |column| rectangle(&slots, column))).collect()
}

/// The greatest divisor of a number that is not above its square root.
fn divisor(number: u32) -> u32 {
    (1..=number.isqrt()).rev().find(|divisor| number.is_multiple_of(*divisor)).unwrap_or(1)
}

/// The border at `part/parts` of all names, three characters deep.
fn key_border(part: u32, parts: u32) -> String {
    const CHARACTERS: &[u8; 37] = b"0123456789_abcdefghijklmnopqrstuvwxyz";
    const FIRST: u64 = 27; // a name does not start with a digit
    const ANY: u64 = 37;
    let value = FIRST * ANY * ANY * u64::from(part) / u64::from(parts);
    let digits = [value / (ANY * ANY) + (ANY - FIRST), value / ANY % ANY, value % ANY];
    let border: String =
        digits.iter().map(|&digit| char::from(CHARACTERS[digit as usize])).collect();
    // a trailing lowest character says nothing
    match border.trim_end_matches('0') {
        "" => border,
        trimmed => trimmed.into(),
    }
}
