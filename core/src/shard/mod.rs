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

mod change;
mod place;
mod space;

#[cfg(test)]
mod change_tests;
#[cfg(test)]
mod tests;

pub use change::{Cut, Dimension, Weighed};
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

/// What names are made of mostly, in byte order.
const CHARACTERS: &[u8; 37] = b"0123456789_abcdefghijklmnopqrstuvwxyz";
const ANY: u64 = CHARACTERS.len() as u64;

/// The border at `part/parts` of all names, three characters deep.
fn key_border(part: u32, parts: u32) -> String {
    const FIRST: u64 = 27; // a name does not start with a digit
    let value = FIRST * ANY * ANY * u64::from(part) / u64::from(parts);
    spelled(value + (ANY - FIRST) * ANY * ANY, 3)
}

/// A key about in the middle between two others, None being the ends of all names. None if no key of the usual
/// characters lies between them.
fn middle_key(from: Option<&str>, to: Option<&str>) -> Option<String> {
    const DEPTH: u32 = 8;
    let low = from.unwrap_or("");
    let common = to.map_or(0, |to| {
        let same = low.chars().zip(to.chars()).take_while(|(a, b)| a == b);
        same.map(|(a, _)| a.len_utf8()).sum()
    });
    let value = |key: &str| {
        key[common..].bytes().chain([0; DEPTH as usize]).take(DEPTH as usize).fold(
            0,
            |value, byte| {
                value * ANY + (CHARACTERS.partition_point(|&c| c < byte) as u64).min(ANY - 1)
            },
        )
    };
    let high = to.map_or(ANY.pow(DEPTH) - 1, value);
    let middle = value(low).midpoint(high);
    let key = format!("{}{}", &low[..common], spelled(middle, DEPTH));
    let between = KeyRange { from: from.map(str::to_owned), to: to.map(str::to_owned) };
    let shortened = (1..=key.len() - common).filter_map(|length| key.get(..common + length));
    let mut fit = shortened.filter(|key| between.contains(key) && Some(*key) != from);
    let middle = value(&key);
    let near = |key: &&str| value(key).abs_diff(middle) <= high.abs_diff(value(low)) / 8;
    fit.find(near).map(str::to_owned)
}

/// A number in the base of the characters, without the lowest characters at its end, which say nothing.
fn spelled(value: u64, length: u32) -> String {
    let digits = (0..length).rev().map(|place| value / ANY.pow(place) % ANY);
    let text: String = digits.map(|digit| char::from(CHARACTERS[digit as usize])).collect();
    match text.trim_end_matches('0') {
        "" => text,
        trimmed => trimmed.into(),
    }
}
