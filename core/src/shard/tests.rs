use super::Strategy;
use super::*;
use crate::slot::{key_of, slot_of};
use proptest::prelude::{prop, *};
use proptest::strategy::Strategy as Cases;

fn numbered(rectangles: Vec<Rectangle>) -> Vec<(i64, Rectangle)> {
    (1..).zip(rectangles).collect()
}

fn rectangle(slots: Range<u16>, from: &str, to: &str) -> Rectangle {
    let key = |key: &str| (!key.is_empty()).then(|| key.to_string());
    Rectangle { slots, keys: KeyRange { from: key(from), to: key(to) } }
}

#[test]
fn strategies_have_names() {
    for strategy in Strategy::ALL {
        assert_eq!(strategy.to_string().parse(), Ok(strategy));
    }
    assert_eq!("Hash".parse::<Strategy>(), Err(UnknownStrategy("Hash".into())));
}

#[test]
fn initial_shards_cover_the_space() {
    for strategy in Strategy::ALL {
        for count in [1, 2, 3, 7, 60, 64, 97, 1000, 10_000, 16_384] {
            let shards = initial(strategy, count);
            assert_eq!(shards.len(), count as usize, "{strategy} {count}");
            Space::new(numbered(shards)).unwrap_or_else(|e| panic!("{strategy} {count}: {e}"));
        }
        assert_eq!(initial(strategy, 0).len(), 1);
        assert_eq!(initial(strategy, u32::MAX).len(), 16_384);
    }
}

#[test]
fn initial_shards_have_the_bounds_of_their_strategy() {
    let hash = initial(Strategy::Hash, 64);
    assert!(hash.iter().all(|r| r.keys == KeyRange::default() && r.slots.len() == 256));
    let range = initial(Strategy::Range, 27);
    assert!(range.iter().all(|r| r.slots == (0..SLOTS)));
    let borders: Vec<_> = range.iter().filter_map(|r| r.keys.from.as_deref()).collect();
    assert_eq!(borders[..3], ["a", "b", "c"]);
    let composite = initial(Strategy::Composite, 64);
    assert!(composite.iter().all(|r| r.slots.len() == 2048));
    assert_eq!(composite.iter().filter(|r| r.slots.start == 0).count(), 8);
}

#[test]
fn faults_of_the_cover_are_named() {
    let cover = |shards: Vec<Rectangle>| Space::new(numbered(shards)).unwrap_err();
    let whole = Rectangle::whole();
    assert_eq!(cover(vec![]), CoverError::Gap { slot: 0, key: None });
    for bad in [
        rectangle(5..5, "", ""),
        rectangle(0..SLOTS + 1, "", ""),
        rectangle(0..SLOTS, "b", "a"),
        rectangle(0..SLOTS, "a", "a"),
    ] {
        assert_eq!(cover(vec![whole.clone(), bad]), CoverError::Bounds { shard: 2 });
    }
    let no_end = KeyRange { from: None, to: Some(String::new()) };
    assert_eq!(
        cover(vec![Rectangle { slots: 0..SLOTS, keys: no_end }]),
        CoverError::Bounds { shard: 1 }
    );
    assert_eq!(
        cover(vec![whole.clone(), whole.clone()]),
        CoverError::Overlap { first: 1, second: 2, slot: 0, key: None }
    );
    let gap = cover(vec![rectangle(0..10, "", ""), rectangle(11..SLOTS, "", "")]);
    assert_eq!(gap.to_string(), "no shard holds slot 10");
    let gap = cover(vec![rectangle(0..10, "", "")]);
    assert_eq!(gap, CoverError::Gap { slot: 10, key: None });
    let gap = cover(vec![rectangle(0..SLOTS, "", "m"), rectangle(0..SLOTS, "n", "")]);
    assert_eq!(gap.to_string(), "no shard holds slot 0 from key \"m\" on");
    let gap = cover(vec![rectangle(0..SLOTS, "", "m"), rectangle(7..SLOTS, "l", "")]);
    assert_eq!(gap, CoverError::Gap { slot: 0, key: Some("m".into()) });
    let overlap = cover(vec![
        rectangle(0..SLOTS, "", "m"),
        rectangle(0..7, "m", ""),
        rectangle(7..SLOTS, "l", ""),
    ]);
    assert_eq!(overlap.to_string(), "shards 1 and 3 overlap in slot 7 from key \"l\" on");
}

#[test]
fn space_is_searched_by_slot_and_key() {
    let space = Space::new(numbered(vec![
        rectangle(0..100, "", ""),
        rectangle(100..SLOTS, "m", ""),
        rectangle(100..200, "", "m"),
        rectangle(200..SLOTS, "", "m"),
    ]))
    .unwrap();
    for (slot, key, shard) in [
        (0, "z", Some(1)),
        (99, "", Some(1)),
        (100, "m", Some(2)),
        (100, "lz", Some(3)),
        (199, "", Some(3)),
        (200, "a", Some(4)),
        (16383, "mm", Some(2)),
        (16384, "a", None),
    ] {
        assert_eq!(space.find(slot, key), shard, "{slot} {key}");
    }
}

fn node(id: i32, name: &str) -> Candidate<'_> {
    Candidate { id, name, weight: 1.0, load: 0.0, schemas: 0, takes_schemas: true }
}

#[test]
fn least_loaded_node() {
    let space = Space::new(numbered(vec![Rectangle::whole()])).unwrap();
    let least = |nodes: &[Candidate<'_>]| place(Strategy::LeastLoaded, "x", None, &space, nodes);
    let on = |node| Ok(Decision::Dedicated { node });
    let mut nodes = [node(3, "c"), node(1, "a"), node(2, "b")];
    assert_eq!(least(&nodes), on(1), "lowest id among equals");
    nodes[1].schemas = 1;
    assert_eq!(least(&nodes), on(2), "fewest schemas among equal loads");
    nodes[0].load = -0.5;
    assert_eq!(least(&nodes), on(3), "least load first");
    nodes[0].load = 4.0;
    nodes[0].weight = 4.0;
    nodes[1].load = 2.0;
    nodes[2].load = 2.0;
    assert_eq!(least(&nodes), on(3), "load counts by weight");
    nodes[0].takes_schemas = false;
    nodes[2].weight = 0.0;
    assert_eq!(least(&nodes), on(1), "closed nodes get nothing");
    nodes[1].takes_schemas = false;
    assert_eq!(least(&nodes), Err(PlaceError::NoNode));
    assert_eq!(least(&[]), Err(PlaceError::NoNode));
}

#[test]
fn an_explicit_node_wins() {
    let space = Space::new(numbered(vec![Rectangle::whole()])).unwrap();
    let mut nodes = [node(1, "a"), node(2, "B")];
    for strategy in Strategy::ALL {
        let place = |on_node, nodes: &[_]| place(strategy, "x", Some(on_node), &space, nodes);
        assert_eq!(place("B", &nodes), Ok(Decision::Dedicated { node: 2 }));
        assert_eq!(place("b", &nodes), Err(PlaceError::UnknownNode("b".into())));
        nodes[1].takes_schemas = false;
        let closed = place("B", &nodes).unwrap_err();
        assert_eq!(closed.to_string(), "node \"B\" takes no new schemas");
        nodes[1].takes_schemas = true;
    }
}

#[test]
fn tags_keep_schemas_together() {
    for strategy in [Strategy::Hash, Strategy::Range, Strategy::Composite] {
        let space = Space::new(numbered(initial(strategy, 64))).unwrap();
        let place = |name| place(strategy, name, None, &space, &[]);
        assert_eq!(place("app_{acme}"), place("log_{acme}"));
        assert_eq!(place("app_{acme}"), place("acme"));
    }
}

/// Cuts the whole space again and again at random places.
fn cuts() -> impl Cases<Value = Vec<Rectangle>> {
    let cut = (any::<prop::sample::Index>(), any::<bool>(), 0..SLOTS, "[a-z]{1,3}");
    proptest::collection::vec(cut, 0..60).prop_map(|cuts| {
        let mut all = vec![Rectangle::whole()];
        for (which, by_slot, slot, key) in cuts {
            let mut old = all.swap_remove(which.index(all.len()));
            let mut new = old.clone();
            if by_slot && old.slots.start < slot && slot < old.slots.end {
                (old.slots.end, new.slots.start) = (slot, slot);
                all.push(new);
            } else if !by_slot
                && old.keys.contains(&key)
                && old.keys.from.as_deref() != Some(key.as_str())
            {
                old.keys.to = Some(key.clone());
                new.keys.from = Some(key);
                all.push(new);
            }
            all.push(old);
        }
        all
    })
}

proptest! {
    #[test]
    fn a_cut_space_is_covered_and_searched_right(
        cut in cuts(),
        names in proptest::collection::vec("[a-z]{0,4}", 20),
        victim: prop::sample::Index,
    ) {
        let shards = numbered(cut);
        let space = Space::new(shards.clone()).unwrap();
        for name in &names {
            let (slot, key) = (slot_of(name), key_of(name));
            let holders: Vec<i64> = shards
                .iter()
                .filter(|(_, r)| r.contains(slot, key))
                .map(|(shard, _)| *shard)
                .collect();
            prop_assert_eq!(holders, vec![space.find(slot, key).unwrap()]);
        }
        // any shard left out or doubled is noticed
        let index = victim.index(shards.len());
        let mut less = shards.clone();
        let (_, bounds) = less.swap_remove(index);
        let gap = Space::new(less).unwrap_err();
        prop_assert!(matches!(gap, CoverError::Gap { .. }), "{gap}");
        let mut more = shards;
        more.push((0, bounds));
        let overlap = Space::new(more).unwrap_err();
        prop_assert!(matches!(overlap, CoverError::Overlap { .. }), "{overlap}");
    }
}
