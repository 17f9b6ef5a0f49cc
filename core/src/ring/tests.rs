use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn members(ids: impl IntoIterator<Item = i32>) -> Vec<Member> {
    ids.into_iter().map(|id| Member { id, weight: 1.0 }).collect()
}

/// How much of the whole key space each node owns.
fn key_share(ring: &Ring) -> BTreeMap<i32, f64> {
    let mut shares = BTreeMap::new();
    let Some(&(last, _)) = ring.tokens.last() else { return shares };
    let mut before = last;
    for &(token, id) in &ring.tokens {
        let arc = f64::from(token.wrapping_sub(before)) / 2f64.powi(32);
        *shares.entry(id).or_default() += arc;
        before = token;
    }
    shares
}

fn owned(assignment: &[(i64, i32)]) -> BTreeMap<i32, usize> {
    let mut count = BTreeMap::new();
    for &(_, id) in assignment {
        *count.entry(id).or_default() += 1;
    }
    count
}

#[test]
fn murmur3_vectors() {
    for (key, expected) in [
        ("", 0),
        ("test", 0xba6b_d213),
        ("Hello, world!", 0xc036_3e43),
        ("The quick brown fox jumps over the lazy dog", 0x2e4f_f723),
    ] {
        assert_eq!(hash(key.as_bytes()), expected, "{key}");
    }
}

/// 8 nodes, 50 seeds: mean coefficient of variation of the key share ≤ 0.09, 95th percentile of
/// max/mean ≤ 1.25. A seed is a set of eight node ids.
#[test]
fn key_shares_are_even() {
    let (mut variation, mut peaks) = (Vec::new(), Vec::new());
    for seed in 0..50 {
        let ring = Ring::new(&members(seed * 8 + 1..seed * 8 + 9), VIRTUAL_NODES);
        let shares: Vec<f64> = key_share(&ring).into_values().collect();
        assert_eq!(shares.len(), 8);
        let mean = shares.iter().sum::<f64>() / 8.0;
        assert!((mean - 0.125).abs() < 1e-9);
        let variance = shares.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 8.0;
        variation.push(variance.sqrt() / mean);
        peaks.push(shares.iter().copied().fold(0.0, f64::max) / mean);
    }
    let mean = variation.iter().sum::<f64>() / 50.0;
    peaks.sort_by(f64::total_cmp);
    let p95 = peaks[47];
    println!("mean CV {mean:.4}, p95 max/mean {p95:.3}");
    assert!(mean <= 0.09, "mean CV {mean}");
    assert!(p95 <= 1.25, "p95 of max/mean {p95}");
}

/// Adding a node to N moves at most 1.25/(N+1) of the keys, and nothing between old nodes.
#[test]
fn adding_a_node_moves_little() {
    let keys: Vec<Vec<u8>> = (0..20_000).map(|i| format!("tenant_{i}").into_bytes()).collect();
    for count in [1, 2, 4, 8, 10, 20] {
        let mut total = 0.0;
        for seed in 0..10 {
            let old = members(seed * 100 + 1..=seed * 100 + count);
            let more = members(seed * 100 + 1..=seed * 100 + count + 1);
            let (old, more) = (Ring::new(&old, VIRTUAL_NODES), Ring::new(&more, VIRTUAL_NODES));
            let mut moved = 0;
            for key in &keys {
                if old.owner(key) != more.owner(key) {
                    assert_eq!(more.owner(key), Some(seed * 100 + count + 1));
                    moved += 1;
                }
            }
            let moved = f64::from(moved) / keys.len() as f64;
            assert!(moved <= 1.25 / f64::from(count + 1), "{count} nodes, seed {seed}: {moved}");
            total += moved / 10.0;
        }
        println!("{count} nodes: {total:.3} moved, {:.3} is the share", 1.0 / f64::from(count + 1));
    }
}

#[test]
fn weights_count() {
    let mut nodes = members(1..=4);
    nodes[3].weight = 2.0;
    let shares = key_share(&Ring::new(&nodes, VIRTUAL_NODES));
    assert!((shares[&4] - 0.4).abs() < 0.06, "{shares:?}");
    nodes[3].weight = 0.0;
    nodes[2].weight = f64::NAN;
    assert_eq!(key_share(&Ring::new(&nodes, VIRTUAL_NODES)).len(), 2);
    assert_eq!(Ring::new(&[], VIRTUAL_NODES).owner(b"x"), None);
    // one unit of almost no weight still has a token
    assert_eq!(Ring::new(&[Member { id: 7, weight: 1e-9 }], 150).owner(b"x"), Some(7));
}

#[test]
fn equal_hashes_belong_to_the_lower_id() {
    let ring = Ring { tokens: vec![(5, 1), (5, 2), (9, 3)] };
    assert_eq!(ring.walk(b"").map(|(_, id)| id).collect::<Vec<_>>(), [1, 2, 3]);
    let mut tokens = Ring::new(&members([2, 1]), 150).tokens;
    assert_eq!(tokens, Ring::new(&members([1, 2]), 150).tokens);
    tokens.dedup_by_key(|token| token.0);
    assert!(tokens.len() >= 299);
}

/// The life of a young cluster: all shards on node 0, which is no member; nodes come one by one.
#[test]
fn a_young_cluster_grows() {
    let mut held: Vec<Held> = (1..=64).map(|shard| Held { shard, node: 0, empty: true }).collect();
    for count in 1..=16 {
        let nodes = members(1..=count);
        let moves = rebalance_empty(&held, &nodes, VIRTUAL_NODES);
        for step in &moves {
            assert_eq!(step.to, count, "only the new node takes shards");
            let held = held.iter_mut().find(|held| held.shard == step.shard).unwrap();
            assert_eq!(held.node, step.from);
            held.node = step.to;
        }
        let limit = shard_limit(&nodes[0], &nodes, 64);
        let loads: Vec<usize> =
            (1..=count).map(|id| held.iter().filter(|held| held.node == id).count()).collect();
        println!("{count} nodes: {loads:?}, limit {limit}");
        assert_eq!(loads.iter().sum::<usize>(), 64);
        assert!(loads.iter().all(|&load| load <= limit), "{loads:?} above {limit}");
        assert!(loads[count as usize - 1] >= 64 / count as usize, "{loads:?}");
        assert_eq!(rebalance_empty(&held, &nodes, VIRTUAL_NODES), [], "at rest");
    }
}

#[test]
fn shards_with_schemas_stay() {
    let held: Vec<Held> =
        (1..=64).map(|shard| Held { shard, node: 1, empty: shard > 60 }).collect();
    let moves = rebalance_empty(&held, &members([1, 2]), VIRTUAL_NODES);
    assert_eq!(moves.iter().map(|step| step.shard).collect::<Vec<_>>(), [61, 62, 63, 64]);
    // with no member to go to, nothing moves
    assert_eq!(rebalance_empty(&held, &[], VIRTUAL_NODES), []);
    assert_eq!(rebalance_empty(&held, &[Member { id: 2, weight: 0.0 }], VIRTUAL_NODES), []);
    assert_eq!(assign(&[1, 2], &[], VIRTUAL_NODES), []);
}

fn weighted(ids: std::ops::RangeInclusive<i32>, weights: &[f64]) -> Vec<Member> {
    ids.zip(weights.iter().cycle()).map(|(id, &weight)| Member { id, weight }).collect()
}

proptest! {
    #[test]
    fn loads_are_bounded(
        count in 1..20i32,
        shards in 0..300i64,
        first in 0..1000i32,
        weights in proptest::collection::vec(0.25..4.0f64, 1..5),
    ) {
        let nodes = weighted(first..=first + count, &weights);
        let ids: Vec<i64> = (0..shards).collect();
        let assignment = assign(&ids, &nodes, 50);
        prop_assert_eq!(assignment.len(), ids.len());
        let loads = owned(&assignment);
        for node in &nodes {
            let load = loads.get(&node.id).copied().unwrap_or(0);
            prop_assert!(load <= shard_limit(node, &nodes, ids.len()));
        }
        let mut mixed = ids.clone();
        mixed.reverse();
        let mut backwards = nodes.clone();
        backwards.reverse();
        prop_assert_eq!(assign(&mixed, &backwards, 50), assignment);
    }

    #[test]
    fn a_new_node_takes_its_share_and_no_more(
        count in 1..20i32,
        shards in 1..300i64,
        first in 0..1000i32,
        full in proptest::collection::vec(proptest::bool::weighted(0.2), 300),
    ) {
        let old = members(first..first + count);
        let nodes = members(first..=first + count);
        let ids: Vec<i64> = (0..shards).collect();
        let mut held: Vec<Held> = assign(&ids, &old, 50)
            .into_iter()
            .map(|(shard, node)| Held { shard, node, empty: !full[shard as usize] })
            .collect();
        // only a node without shards is new; an old one may have got none of few shards
        prop_assume!(old.iter().all(|m| held.iter().any(|held| held.node == m.id)));
        let moves = rebalance_empty(&held, &nodes, 50);
        let limit = shard_limit(&nodes[0], &nodes, ids.len());
        prop_assert!(moves.len() <= limit);
        for step in &moves {
            prop_assert_eq!(step.to, first + count);
            prop_assert!(held[step.shard as usize].empty);
            prop_assert_eq!(held[step.shard as usize].node, step.from);
        }
        let mut backwards = held.clone();
        backwards.reverse();
        prop_assert_eq!(&rebalance_empty(&backwards, &nodes, 50), &moves);
        if held.iter().all(|held| held.empty) {
            for step in &moves {
                held[step.shard as usize].node = step.to;
            }
            for node in &nodes {
                let load = held.iter().filter(|held| held.node == node.id).count();
                prop_assert!(load <= limit, "{load} above {limit}");
            }
            prop_assert!(moves.len() >= ids.len() / nodes.len());
        }
    }

    #[test]
    fn a_leaving_node_gives_its_empty_shards_to_all(count in 2..10i32, shards in 1..200i64) {
        let ids: Vec<i64> = (0..shards).collect();
        let held: Vec<Held> = assign(&ids, &members(1..=count), 50)
            .into_iter()
            .map(|(shard, node)| Held { shard, node, empty: true })
            .collect();
        prop_assume!((1..=count).all(|id| held.iter().any(|held| held.node == id)));
        let moves = rebalance_empty(&held, &members(2..=count), 50);
        let leaving: Vec<i64> =
            held.iter().filter(|held| held.node == 1).map(|held| held.shard).collect();
        prop_assert_eq!(moves.iter().map(|step| step.shard).collect::<Vec<_>>(), leaving);
    }
}
