//! Pooled shards: rectangles in slot × key space.
//!
//! Job: say which keys a shard holds, and cut and join shards.
//! Invariant: whatever is cut or joined covers the same keys as before, each once. So if the shards of a new cluster
//! cover the space, every key has one shard for ever.
//! Locks: none; the whole folder is pure.
//!
//! Hash bounds the slots alone, range the keys alone, composite both. A dedicated shard is no part of the space: it
//! holds one schema, which the directory names. Keys are compared byte by byte (collation "C").

mod change;

#[cfg(test)]
mod tests;

pub use change::{Cut, Dimension, Weighed};

use crate::slot::SLOTS;
use std::ops::Range;

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

/// What names are made of mostly, in byte order.
const CHARACTERS: &[u8; 37] = b"0123456789_abcdefghijklmnopqrstuvwxyz";
const ANY: u64 = CHARACTERS.len() as u64;

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
    let mut candidates = shortened.filter(|key| between.contains(key) && Some(*key) != from);
    let middle = value(&key);
    let near = |key: &&str| value(key).abs_diff(middle) <= high.abs_diff(value(low)) / 8;
    candidates.find(near).map(str::to_owned)
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
