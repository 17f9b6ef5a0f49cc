use super::*;
use crate::slot::{key_of, slot_of};
use proptest::prelude::{prop, *};
use proptest::strategy::Strategy as Cases;

fn rectangle(slots: Range<u16>, from: &str, to: &str) -> Rectangle {
    let key = |key: &str| (!key.is_empty()).then(|| key.to_string());
    Rectangle { slots, keys: KeyRange { from: key(from), to: key(to) } }
}

fn weighed(items: &[(u16, &'static str, f64)]) -> Vec<Weighed<'static>> {
    items.iter().map(|&(slot, key, weight)| Weighed { slot, key, weight }).collect()
}

#[test]
fn midpoints() {
    let at = |r: Rectangle| r.midpoint();
    assert_eq!(at(Rectangle::whole()), Some(Cut::Slot(SLOTS / 2)));
    assert_eq!(at(rectangle(10..13, "", "")), Some(Cut::Slot(11)));
    assert_eq!(at(rectangle(10..12, "", "")), Some(Cut::Slot(11)));
    assert_eq!(at(rectangle(0..2048, "a", "m")), Some(Cut::Slot(1024)), "composite");
    assert_eq!(at(rectangle(0..SLOTS, "a", "c")), Some(Cut::Key("b".into())), "range");
    assert_eq!(at(rectangle(0..SLOTS, "tenant_1", "tenant_3")), Some(Cut::Key("tenant_2".into())));
    assert!(matches!(at(rectangle(7..8, "", "")), Some(Cut::Key(_))), "a single slot");
    assert_eq!(at(rectangle(0..SLOTS, "a", "a0")), None, "nothing between");
}

#[test]
fn cuts_outside_are_none() {
    let hash = rectangle(10..20, "", "");
    for slot in [0, 10, 20, 21, SLOTS] {
        assert_eq!(hash.split(&Cut::Slot(slot)), None, "{slot}");
    }
    let range = rectangle(0..SLOTS, "b", "d");
    for key in ["", "a", "b", "d", "x"] {
        assert_eq!(range.split(&Cut::Key(key.into())), None, "{key}");
    }
    assert_eq!(Rectangle::whole().split(&Cut::Key(String::new())), None, "nothing before it");
}

#[test]
fn medians() {
    let hash = rectangle(0..100, "", "");
    let items = weighed(&[(1, "a", 1.0), (5, "b", 1.0), (9, "c", 2.0), (50, "d", 4.0)]);
    assert_eq!(hash.median(&items), Some(Cut::Slot(50)));
    let heavy = weighed(&[(1, "a", 9.0), (5, "b", 1.0), (9, "c", 2.0)]);
    assert_eq!(hash.median(&heavy), Some(Cut::Slot(5)));
    let idle = weighed(&[(1, "a", 0.0), (5, "b", 0.0)]);
    assert_eq!(hash.median(&idle), None, "nothing weighs");
    let single = weighed(&[(5, "b", 3.0), (7, "c", 0.0)]);
    assert_eq!(hash.median(&single), None, "one has it all");
    let one_slot = weighed(&[(5, "a", 3.0), (5, "b", 3.0)]);
    assert_eq!(hash.median(&one_slot), Some(Cut::Key("b".into())), "the other dimension");
}

#[test]
fn neighbours_join() {
    let join = |a: &Rectangle, b: &Rectangle| {
        let joined = a.join(b);
        assert_eq!(joined, b.join(a));
        joined
    };
    let part = |slots| rectangle(slots, "", "");
    assert_eq!(join(&part(0..5), &part(5..9)), Some(part(0..9)));
    assert_eq!(join(&part(0..5), &part(6..9)), None, "a gap");
    assert_eq!(join(&part(0..5), &part(0..5)), None, "itself");
    let keys = |from, to| rectangle(0..5, from, to);
    assert_eq!(join(&keys("", "b"), &keys("b", "")), Some(part(0..5)));
    assert_eq!(join(&keys("", "b"), &keys("c", "")), None);
    assert_eq!(join(&keys("a", ""), &keys("a", "")), None);
    assert_eq!(join(&rectangle(0..5, "", "b"), &rectangle(5..9, "b", "")), None, "a corner");
    assert_eq!(join(&rectangle(0..5, "", "b"), &rectangle(5..9, "", "c")), None, "half a side");
}

#[test]
fn borders_of_assigned_slots() {
    let shard = rectangle(10..20, "", "");
    let cuts = |slots| shard.borders(&slots);
    assert_eq!(cuts(0..SLOTS), vec![]);
    assert_eq!(cuts(10..20), vec![]);
    assert_eq!(cuts(12..30), vec![Cut::Slot(12)]);
    assert_eq!(cuts(12..15), vec![Cut::Slot(12), Cut::Slot(15)]);
    assert_eq!(cuts(20..25), vec![]);
}

#[derive(Debug, Clone)]
enum Step {
    Midpoint(prop::sample::Index),
    Median(prop::sample::Index),
    Slot(prop::sample::Index, u16),
    Key(prop::sample::Index, String),
    Merge(prop::sample::Index, prop::sample::Index),
    Assign(u16, u16),
}

fn steps() -> impl Cases<Value = Vec<Step>> {
    let any_shard = || any::<prop::sample::Index>();
    let step = prop_oneof![
        any_shard().prop_map(Step::Midpoint),
        any_shard().prop_map(Step::Median),
        (any_shard(), 0..SLOTS).prop_map(|(shard, slot)| Step::Slot(shard, slot)),
        (any_shard(), "[a-z]{0,3}").prop_map(|(shard, key)| Step::Key(shard, key)),
        (any_shard(), any_shard()).prop_map(|(a, b)| Step::Merge(a, b)),
        (0..SLOTS, 0..SLOTS).prop_map(|(a, b)| Step::Assign(a.min(b), a.max(b))),
    ];
    proptest::collection::vec(step, 0..80)
}

/// The shards as a cluster has them: a cut or a merge that cannot be is refused and changes nothing.
struct Shards(Vec<Rectangle>);

impl Shards {
    fn cut(&mut self, index: usize, cut: Option<Cut>) {
        if let Some((low, high)) = cut.and_then(|cut| self.0[index].split(&cut)) {
            self.0[index] = low;
            self.0.push(high);
        }
    }

    fn apply(&mut self, step: &Step, names: &[String]) {
        let count = self.0.len();
        match step {
            Step::Midpoint(shard) => {
                let index = shard.index(count);
                self.cut(index, self.0[index].midpoint());
            }
            Step::Median(shard) => {
                let index = shard.index(count);
                let here =
                    names.iter().filter(|name| self.0[index].contains(slot_of(name), key_of(name)));
                let items: Vec<_> = here
                    .map(|name| Weighed { slot: slot_of(name), key: key_of(name), weight: 1.0 })
                    .collect();
                let cut = self.0[index].median(&items);
                if let Some((low, high)) = cut.as_ref().and_then(|cut| self.0[index].split(cut)) {
                    for part in [&low, &high] {
                        assert!(items.iter().any(|i| part.contains(i.slot, i.key)), "{part:?}");
                    }
                }
                self.cut(index, cut);
            }
            Step::Slot(shard, slot) => self.cut(shard.index(count), Some(Cut::Slot(*slot))),
            Step::Key(shard, key) => self.cut(shard.index(count), Some(Cut::Key(key.clone()))),
            Step::Merge(a, b) => {
                // with a neighbour, if it has one that fits
                let (a, first) = (a.index(count), b.index(count));
                let other = (0..count).map(|i| (i + first) % count);
                let fits =
                    other.filter(|b| a != *b).find_map(|b| Some((b, self.0[a].join(&self.0[b])?)));
                if let Some((b, joined)) = fits {
                    self.0[a] = joined;
                    self.0.remove(b);
                }
            }
            Step::Assign(from, to) => {
                let slots = *from..*to;
                for index in 0..count {
                    for cut in self.0[index].borders(&slots).into_iter().rev() {
                        self.cut(index, Some(cut));
                    }
                }
                let across = |r: &&Rectangle| !r.borders(&slots).is_empty();
                assert_eq!(self.0.iter().find(across), None);
            }
        }
    }
}

/// The first slot whose keys these shards do not cover once each; None if they cover the whole space.
fn fault_of_cover(shards: &[Rectangle]) -> Option<u16> {
    let starts = shards.iter().map(|shard| shard.slots.start).chain([0]);
    let covers = |slot: u16| {
        let mut column: Vec<&KeyRange> =
            shards.iter().filter(|shard| shard.slots.contains(&slot)).map(|s| &s.keys).collect();
        column.sort_by_key(|keys| &keys.from);
        let borders =
            column.windows(2).all(|pair| pair[0].to.is_some() && pair[0].to == pair[1].from);
        let open = |key: Option<&Option<String>>| key.is_some_and(Option::is_none);
        borders
            && open(column.first().map(|keys| &keys.from))
            && open(column.last().map(|keys| &keys.to))
    };
    let empty = shards.iter().find(|shard| shard.slots.is_empty() || shard.keys.is_empty());
    empty.map(|shard| shard.slots.start).or_else(|| starts.into_iter().find(|slot| !covers(*slot)))
}

#[test]
fn faults_of_a_cover_are_found() {
    let whole = Rectangle::whole();
    assert_eq!(fault_of_cover(&[]), Some(0));
    assert_eq!(fault_of_cover(std::slice::from_ref(&whole)), None);
    assert_eq!(fault_of_cover(&[whole.clone(), whole.clone()]), Some(0));
    assert_eq!(
        fault_of_cover(&[rectangle(0..10, "", ""), rectangle(10..SLOTS, "b", "")]),
        Some(10)
    );
    assert_eq!(
        fault_of_cover(&[rectangle(0..SLOTS, "", "m"), rectangle(7..SLOTS, "l", "")]),
        Some(0)
    );
    assert_eq!(fault_of_cover(&[whole, rectangle(5..5, "", "")]), Some(5));
}

proptest! {
    /// The space is covered once after every operation, and no key changes its shard but by the operation.
    #[test]
    fn any_sequence_of_operations_keeps_the_space_covered(
        steps in steps(),
        names in proptest::collection::vec("[a-z]{1,6}", 1..20),
    ) {
        let mut shards = Shards(vec![Rectangle::whole()]);
        for step in &steps {
            shards.apply(step, &names);
            let fault = fault_of_cover(&shards.0);
            prop_assert!(fault.is_none(), "slot {:?} after {:?}: {:?}", fault, step, shards.0);
        }
    }

    /// A cut and the merge of its parts are nothing.
    #[test]
    fn merge_undoes_split(steps in steps(), names in proptest::collection::vec("[a-z]{1,6}", 1..20)) {
        let mut shards = Shards(vec![Rectangle::whole()]);
        for step in &steps {
            shards.apply(step, &names);
        }
        for shard in &shards.0 {
            if let Some((low, high)) = shard.midpoint().and_then(|cut| shard.split(&cut)) {
                prop_assert_eq!(low.join(&high), Some(shard.clone()));
            }
        }
    }

    /// The middle of two keys lies between them.
    #[test]
    fn middle_keys_lie_between(a in "[a-zé{}_0-9]{0,12}", b in "[a-zé{}_0-9]{0,12}") {
        let (from, to) = (a.as_str().min(&b), a.as_str().max(&b));
        if let Some(middle) = middle_key(Some(from), Some(to)) {
            prop_assert!(from < middle.as_str() && middle.as_str() < to, "{}", middle);
        }
        let middle = middle_key(None, None).unwrap();
        prop_assert!("a" < middle.as_str() && middle.as_str() < "z", "{}", middle);
    }
}
