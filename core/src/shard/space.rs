//! The covered space and the search in it.

use super::{KeyRange, Rectangle};
use crate::slot::SLOTS;
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// Why rectangles do not cover the space. Shards are named by their ids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoverError {
    /// A shard's bounds hold nothing, or slots that do not exist.
    #[error("shard {shard} has impossible bounds")]
    Bounds {
        /// The shard.
        shard: i64,
    },
    /// Two shards hold the same keys.
    #[error("shards {first} and {second} overlap in slot {slot}{}", from(.key))]
    Overlap {
        /// One shard.
        first: i64,
        /// The other.
        second: i64,
        /// The first slot that both hold.
        slot: u16,
        /// The first key that both hold; None: from the very first.
        key: Option<String>,
    },
    /// No shard holds these keys.
    #[error("no shard holds slot {slot}{}", from(.key))]
    Gap {
        /// The first slot of the gap.
        slot: u16,
        /// The first key of the gap; None: from the very first.
        key: Option<String>,
    },
}

fn from(key: &Option<String>) -> String {
    key.as_ref().map(|key| format!(" from key \"{key}\" on")).unwrap_or_default()
}

/// Pooled shards that cover the whole space once.
#[derive(Debug, Clone)]
pub struct Space {
    shards: Vec<(i64, Rectangle)>,
    /// Where a run of slots starts that is cut into keys in one way.
    starts: Vec<u16>,
    /// For each run the shards by index, in the order of their keys.
    columns: Vec<Vec<u32>>,
}

impl Space {
    /// Checks that these shards cover the space. Time: a sort, and one look at each shard for each
    /// run of slots that it takes part in.
    pub fn new(shards: Vec<(i64, Rectangle)>) -> Result<Self, CoverError> {
        for (shard, Rectangle { slots, keys }) in &shards {
            if slots.is_empty() || slots.end > SLOTS || keys.is_empty() {
                return Err(CoverError::Bounds { shard: *shard });
            }
        }
        let borders: BTreeSet<u16> =
            shards.iter().flat_map(|(_, r)| [r.slots.start, r.slots.end]).chain([0]).collect();
        let starts: Vec<u16> = borders.into_iter().filter(|&slot| slot < SLOTS).collect();
        let mut waiting: Vec<u32> = (0..shards.len() as u32).collect();
        let rectangle = |index: &u32| &shards[*index as usize].1;
        waiting.sort_by_key(|index| std::cmp::Reverse(rectangle(index).slots.start));
        let mut columns = Vec::with_capacity(starts.len());
        let mut active: Vec<u32> = Vec::new();
        for &slot in &starts {
            active.retain(|index| rectangle(index).slots.end > slot);
            while let Some(index) = waiting.pop_if(|i| rectangle(i).slots.start == slot) {
                active.push(index);
            }
            active
                .sort_by(|a, b| rectangle(a).keys.from.cmp(&rectangle(b).keys.from).then(a.cmp(b)));
            check(slot, &active, &shards)?;
            columns.push(active.clone());
        }
        Ok(Space { shards, starts, columns })
    }

    /// The shard that holds this key, whose slot is given. None only for a slot that does not
    /// exist.
    pub fn find(&self, slot: u16, key: &str) -> Option<i64> {
        if slot >= SLOTS {
            return None;
        }
        let run = self.starts.partition_point(|&start| start <= slot).checked_sub(1)?;
        let column = self.columns.get(run)?;
        let from = |index: &u32| self.shards[*index as usize].1.keys.from.as_deref();
        let behind = column.partition_point(|index| from(index).is_none_or(|from| from <= key));
        let index = *column.get(behind.checked_sub(1)?)?;
        Some(self.shards[index as usize].0)
    }

    /// The shards with their bounds, as given.
    pub fn shards(&self) -> &[(i64, Rectangle)] {
        &self.shards
    }
}

/// Do these shards, sorted by their first keys, cover all keys of a slot once?
fn check(slot: u16, column: &[u32], shards: &[(i64, Rectangle)]) -> Result<(), CoverError> {
    let at = |index: &u32| -> (i64, &KeyRange) {
        let (shard, rectangle) = &shards[*index as usize];
        (*shard, &rectangle.keys)
    };
    let Some((mut before, first)) = column.first().map(at) else {
        return Err(CoverError::Gap { slot, key: None });
    };
    // an empty first key is the very first one
    if first.from.as_deref().is_some_and(|from| !from.is_empty()) {
        return Err(CoverError::Gap { slot, key: None });
    }
    let mut covered = &first.to;
    for (shard, keys) in column[1..].iter().map(at) {
        let order = match (&keys.from, covered) {
            (Some(from), Some(to)) => from.cmp(to),
            _ => Ordering::Less,
        };
        match order {
            Ordering::Less => {
                let key = keys.from.clone();
                return Err(CoverError::Overlap { first: before, second: shard, slot, key });
            }
            Ordering::Greater => return Err(CoverError::Gap { slot, key: covered.clone() }),
            Ordering::Equal => (before, covered) = (shard, &keys.to),
        }
    }
    match covered {
        Some(_) => Err(CoverError::Gap { slot, key: covered.clone() }),
        None => Ok(()),
    }
}
