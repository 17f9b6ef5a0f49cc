//! The settings of a node's session, taking into account what the node has rolled back.

use crate::remote::settings::Snapshot;
use std::rc::Rc;

/// The settings of one session with a node. A setting made inside a (sub)transaction is undone by its rollback, so the
/// previous state is kept for each level that changed something.
#[derive(Debug, Default)]
pub struct NodeSettings {
    now: Rc<Snapshot>,
    epoch: u64,
    /// Something on the node may have changed settings, so `now` is not reliable.
    unknown: bool,
    /// The level, and the settings before it.
    before: Vec<(u32, Rc<Snapshot>, bool)>,
}

impl NodeSettings {
    /// The session's current settings.
    pub fn now(&self) -> &Rc<Snapshot> {
        &self.now
    }

    /// Number of these settings, 0 if they are unknown.
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether the session may have other settings than [`Self::now`].
    pub fn is_unknown(&self) -> bool {
        self.unknown
    }

    /// Records that the node has run something that may have changed settings.
    pub fn forget(&mut self) {
        self.unknown = true;
        self.epoch = 0;
    }

    /// Records that the settings have been compared with those of this number and found equal.
    pub fn equals(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// Records that settings were applied at a nesting level (0: outside a transaction block).
    pub fn set(&mut self, settings: Rc<Snapshot>, epoch: u64, level: u32) {
        let old = std::mem::replace(&mut self.now, settings);
        let unknown = std::mem::take(&mut self.unknown);
        self.epoch = epoch;
        if self.before.last().is_none_or(|(l, ..)| *l < level) {
            self.before.push((level, old, unknown));
        }
    }

    /// Records a rollback to before this level (0 or 1: everything).
    pub fn roll_back(&mut self, level: u32) {
        while let Some((_, old, unknown)) = self.before.pop_if(|(l, ..)| *l >= level) {
            self.now = old;
            self.unknown |= unknown;
            self.epoch = 0;
        }
    }

    /// Records that this level became part of its parent.
    pub fn release(&mut self, level: u32) {
        while let Some((l, old, unknown)) = self.before.pop_if(|(l, ..)| *l >= level) {
            let parent = level - 1;
            if self.before.last().is_none_or(|(l, ..)| *l < parent) && l > parent {
                self.before.push((parent, old, unknown));
            }
        }
    }

    /// Records that the node's transaction has been committed.
    pub fn commit(&mut self) {
        self.before.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str) -> Rc<Snapshot> {
        Rc::new(Snapshot { role: Some(name.into()), ..Snapshot::default() })
    }

    #[test]
    fn every_level_goes_back_to_what_was_before_it() {
        let mut a = NodeSettings::default();
        a.set(role("one"), 1, 1);
        a.set(role("one again"), 2, 1);
        a.set(role("three"), 3, 3);
        a.roll_back(2);
        assert_eq!((a.now(), a.epoch()), (&role("one again"), 0));
        a.roll_back(1);
        assert_eq!(a.now().role, None);
    }

    #[test]
    fn a_released_level_goes_back_with_its_parent() {
        let mut a = NodeSettings::default();
        a.set(role("three"), 1, 3);
        a.set(role("four"), 1, 4);
        a.release(4);
        a.release(3);
        assert_eq!(a.now(), &role("four"));
        a.roll_back(2);
        assert_eq!(a.now().role, None);
        a.set(role("two"), 1, 2);
        a.set(role("three"), 2, 3);
        a.release(3);
        a.roll_back(2);
        assert_eq!(a.now().role, None);
    }

    #[test]
    fn what_a_rollback_brings_back_is_as_unknown_as_it_was() {
        let mut a = NodeSettings::default();
        a.set(role("one"), 1, 1);
        a.forget();
        assert_eq!(a.epoch(), 0);
        a.set(role("two"), 2, 2);
        assert!(!a.is_unknown());
        a.roll_back(2);
        assert!(a.is_unknown());
    }

    #[test]
    fn a_commit_keeps_everything() {
        let mut a = NodeSettings::default();
        a.set(role("one"), 1, 1);
        a.commit();
        a.roll_back(0);
        assert_eq!((a.now(), a.epoch()), (&role("one"), 1));
    }
}
