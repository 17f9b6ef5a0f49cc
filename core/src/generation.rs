//! Cached data that is kept until its source may have changed.

/// A backend's cached data, valid for one generation of its source.
///
/// A generation is any value by which the caller detects changes of the source, such as a pair of counters. Invariant:
/// data returned by [`current`](Self::current) was stored under the requested generation.
#[derive(Debug, Clone, Default)]
pub struct Generational<G, T> {
    generation: G,
    value: T,
}

impl<G: PartialEq + Copy, T: Default> Generational<G, T> {
    /// The data of this generation: empty, if the last lookup was in another one.
    #[inline]
    pub fn current(&mut self, generation: G) -> &mut T {
        if self.generation != generation {
            *self = Self { generation, value: T::default() };
        }
        &mut self.value
    }

    /// The data in which to store a result that was read between the generations `before` and `after`. None if the
    /// source has changed in between, or a nested lookup has seen a newer generation, so that the result may be
    /// outdated.
    pub fn unchanged(&mut self, before: G, after: G) -> Option<&mut T> {
        (before == after && self.generation == before).then_some(&mut self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    type Cache = Generational<(u64, u64), HashMap<u32, Option<i32>>>;

    #[test]
    fn answers_last_for_one_generation() {
        let mut cache = Cache::default();
        cache.current((1, 1)).insert(7, Some(3));
        assert_eq!(cache.current((1, 1)).get(&7), Some(&Some(3)));
        for other in [(1, 2), (2, 1), (1, 1)] {
            assert_eq!(cache.current(other).get(&7), None, "{other:?}");
            cache.current(other).insert(7, None);
        }
    }

    #[test]
    fn answers_that_grew_old_while_they_were_read_are_not_kept() {
        let mut cache = Cache::default();
        cache.current((1, 1));
        assert!(cache.unchanged((1, 1), (1, 1)).is_some());
        assert!(cache.unchanged((1, 1), (1, 2)).is_none(), "changed while it was read");
        cache.current((1, 2));
        assert!(cache.unchanged((1, 1), (1, 1)).is_none(), "another look-up has seen the change");
    }
}
