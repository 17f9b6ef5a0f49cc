//! Splitting and merging of pooled shards.

use super::{KeyRange, Rectangle, middle_key};
use crate::slot::SLOTS;
use std::collections::BTreeMap;

/// The point of a split: the first slot, or the first key, of the upper part.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Cut {
    /// Before this slot.
    Slot(u16),
    /// Before this key.
    Key(String),
}

/// The dimension of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    /// Hash slots.
    Slots,
    /// Keys.
    Keys,
}

/// An item in a shard with its weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weighed<'a> {
    /// Its slot.
    pub slot: u16,
    /// Its key.
    pub key: &'a str,
    /// Its load or its size in bytes; not negative.
    pub weight: f64,
}

impl Rectangle {
    /// The default dimension for splitting this shard: keys if it covers all slots (range) or a single one, otherwise
    /// slots.
    pub fn dimension(&self) -> Dimension {
        let whole = self.slots == (0..SLOTS) && self.keys != KeyRange::default();
        if whole || self.slots.len() == 1 { Dimension::Keys } else { Dimension::Slots }
    }

    /// The two parts, lower one first. None if one of them would be empty.
    pub fn split(&self, at: &Cut) -> Option<(Rectangle, Rectangle)> {
        let (mut low, mut high) = (self.clone(), self.clone());
        match at {
            Cut::Slot(slot) => (low.slots.end, high.slots.start) = (*slot, *slot),
            Cut::Key(key) => {
                if !self.keys.contains(key) {
                    return None;
                }
                low.keys.to = Some(key.clone());
                high.keys.from = Some(key.clone());
            }
        }
        let is_whole = |part: &Rectangle| !part.slots.is_empty() && !part.keys.is_empty();
        (is_whole(&low) && is_whole(&high)).then_some((low, high))
    }

    /// The middle of the bounds. None if there is nothing between them.
    pub fn midpoint(&self) -> Option<Cut> {
        let cut = match self.dimension() {
            Dimension::Slots => Cut::Slot(self.slots.start + self.slots.len() as u16 / 2),
            Dimension::Keys => {
                Cut::Key(middle_key(self.keys.from.as_deref(), self.keys.to.as_deref())?)
            }
        };
        self.split(&cut).map(|_| cut)
    }

    /// The split point for which the weights of both parts are closest; in the other dimension if the default one
    /// leaves all the weight in one part. None if both do.
    pub fn median(&self, items: &[Weighed<'_>]) -> Option<Cut> {
        let slots = || {
            let at = |item: &Weighed<'_>| item.slot;
            halve(items, at).map(Cut::Slot)
        };
        let keys = || {
            let at = |item: &Weighed<'_>| item.key.to_owned();
            halve(items, at).map(Cut::Key)
        };
        let cut = match self.dimension() {
            Dimension::Slots => slots().or_else(keys),
            Dimension::Keys => keys().or_else(slots),
        };
        cut.filter(|cut| self.split(cut).is_some())
    }

    /// The shard that results from merging these two. None unless they are adjacent and share a complete border.
    pub fn join(&self, other: &Rectangle) -> Option<Rectangle> {
        let (low, high) = if starts_behind(self, other) { (other, self) } else { (self, other) };
        if low.keys == high.keys && low.slots.end == high.slots.start {
            let slots = low.slots.start..high.slots.end;
            return Some(Rectangle { slots, keys: low.keys.clone() });
        }
        if low.slots == high.slots && low.keys.to.is_some() && low.keys.to == high.keys.from {
            let keys = KeyRange { from: low.keys.from.clone(), to: high.keys.to.clone() };
            return Some(Rectangle { slots: low.slots.clone(), keys });
        }
        None
    }

    /// Split points of this shard so that none of its parts crosses the borders of these slots: none, one or two, in
    /// ascending order.
    pub fn borders(&self, slots: &std::ops::Range<u16>) -> Vec<Cut> {
        let inside = |slot: &u16| self.slots.start < *slot && *slot < self.slots.end;
        [slots.start, slots.end].into_iter().filter(inside).map(Cut::Slot).collect()
    }
}

fn starts_behind(one: &Rectangle, other: &Rectangle) -> bool {
    (one.slots.start, &one.keys.from) > (other.slots.start, &other.keys.from)
}

/// The point before which about half of the weight is, with non-zero weight on both sides.
fn halve<T: Ord + Clone>(items: &[Weighed<'_>], at: impl Fn(&Weighed<'_>) -> T) -> Option<T> {
    let mut places: BTreeMap<T, f64> = BTreeMap::new();
    for item in items.iter().filter(|item| item.weight > 0.0) {
        *places.entry(at(item)).or_default() += item.weight;
    }
    let total: f64 = places.values().sum();
    let mut below = 0.0;
    let uneven = places.iter().map(|(place, weight)| {
        let cut = ((total - 2.0 * below).abs(), place);
        below += weight;
        cut
    });
    // nothing is before the first point
    uneven.skip(1).min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, place)| place.clone())
}
