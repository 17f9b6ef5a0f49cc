use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

/// Reproducible numbers: SplitMix64, and Box and Muller's normal ones.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn lognormal(&mut self, sigma: f64) -> f64 {
        let (a, b) = (self.unit().max(1e-300), self.unit());
        (sigma * (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()).exp()
    }
}

fn open(count: i32) -> Vec<Node> {
    (1..=count).map(|id| Node { id, weight: 1.0, role: Role::Open }).collect()
}

fn shard(id: i64, node: i32, bytes: f64) -> Shard {
    Shard { id, node, bytes, load: bytes, is_movable: true }
}

/// Tenants of a skewed cluster, each in a shard of its own, placed by hash.
fn skewed(seed: u64, tenants: i64, nodes: i32) -> Vec<Shard> {
    let mut random = Random(seed);
    let tenant = |id| {
        let bytes = random.lognormal(2.0) * 1e6;
        shard(id, (random.next() % nodes as u64) as i32 + 1, bytes)
    };
    (1..=tenants).map(tenant).collect()
}

/// The cluster after a plan, computed apart from the planner.
fn apply(shards: &[Shard], plan: &Plan) -> Vec<Shard> {
    let to: HashMap<i64, i32> = plan.moves.iter().map(|m| (m.shard, m.to)).collect();
    let moved = |s: &Shard| Shard { node: to.get(&s.id).copied().unwrap_or(s.node), ..*s };
    shards.iter().map(moved).collect()
}

fn fullest(nodes: &[Node], shards: &[Shard]) -> f64 {
    let on = |node: &Node| {
        shards.iter().filter(|s| s.node == node.id).map(|s| s.bytes).sum::<f64>() / node.weight
    };
    let total: f64 = shards.iter().map(|s| s.bytes).sum();
    let capacity: f64 = nodes.iter().map(|node| node.weight).sum();
    nodes.iter().map(on).fold(0.0, f64::max) / (total / capacity)
}

/// No plan of this budget can be better: what a level costs at least, and the largest shard.
fn best_possible(nodes: &[Node], shards: &[Shard], budget: f64) -> f64 {
    let total: f64 = shards.iter().map(|s| s.bytes).sum();
    let mean = total / nodes.len() as f64;
    let on: Vec<f64> = nodes
        .iter()
        .map(|n| shards.iter().filter(|s| s.node == n.id).map(|s| s.bytes).sum::<f64>() / mean)
        .collect();
    let cost = |level: f64| on.iter().map(|on| (on - level).max(0.0)).sum::<f64>() * mean;
    let mut level = 1.0;
    while cost(level) > budget * total {
        level += 0.001;
    }
    let largest = shards.iter().map(|s| s.bytes).fold(0.0, f64::max) / mean;
    level.max(largest)
}

/// Lognormal σ = 2, 1,000 tenants, 8 nodes, a budget of 10 %: 1.26 at most in every run, but where one tenant alone or
/// the budget does not allow it; there it is within 2 % of what is possible at all.
#[test]
fn skewed_tenants_are_levelled_within_the_budget() {
    let nodes = open(8);
    let mut figures = Vec::new();
    for seed in 0..100 {
        let shards = skewed(seed, 1000, 8);
        let plan = plan(&nodes, &shards, &Bounds::default());
        let after = fullest(&nodes, &apply(&shards, &plan));
        let total: f64 = shards.iter().map(|s| s.bytes).sum();
        let moved: f64 = plan.moves.iter().map(|m| m.bytes).sum();
        assert!(moved <= 0.1 * total * (1.0 + 1e-9), "seed {seed}: {}", moved / total);
        assert!((plan.after.fullest - after).abs() < 1e-6, "seed {seed}: the plan says so itself");
        let before = fullest(&nodes, &shards);
        let best = best_possible(&nodes, &shards, 0.1);
        if plan.verdict == Verdict::Worthwhile {
            let bound = (best * 1.02).max(1.26);
            assert!(after <= bound, "seed {seed}: {after} of {before}, possible {best}");
        }
        figures.push((before, after, best));
    }
    figures.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mean = |of: fn(&(f64, f64, f64)) -> f64| figures.iter().map(of).sum::<f64>() / 100.0;
    let median = figures[50];
    let text = format!("mean {:.2} → {:.2}, median {:.2}", mean(|f| f.0), mean(|f| f.1), median.1);
    assert!(median.1 <= 1.26, "{text}");
    println!("{text}");
}

#[test]
fn an_even_cluster_is_left_alone() {
    let nodes = open(4);
    let shards: Vec<Shard> = (1..=400).map(|id| shard(id, (id % 4) as i32 + 1, 1.0)).collect();
    let plan = plan(&nodes, &shards, &Bounds::default());
    assert_eq!((plan.verdict, plan.moves.len(), plan.waves), (Verdict::Even, 0, 0));
    assert!((plan.before.fullest - 1.0).abs() < 1e-9);
}

#[test]
fn a_small_gain_is_not_worth_it() {
    let nodes = open(2);
    let mut shards: Vec<Shard> = (1..=200).map(|id| shard(id, (id % 2) as i32 + 1, 1.0)).collect();
    shards.extend((201..=210).map(|id| shard(id, 1, 1.0)));
    let plan = |bounds: &Bounds| plan(&nodes, &shards, bounds);
    assert_eq!(plan(&Bounds::default()).verdict, Verdict::TooLittle);
    assert!(plan(&Bounds::default()).moves.is_empty());
    let eager = plan(&Bounds { min_improvement: 0.01, ..Bounds::default() });
    assert_eq!(eager.verdict, Verdict::Worthwhile);
    assert_eq!(eager.moves.len(), 5);
}

/// A node that joins gets its share in waves of 10 %, and the plan says about how many.
#[test]
fn a_new_node_is_filled_in_waves() {
    for count in [3, 10] {
        let nodes = open(count + 1);
        let mut shards: Vec<Shard> = (1..=i64::from(count) * 100)
            .map(|id| shard(id, (id % i64::from(count)) as i32 + 1, 1.0))
            .collect();
        let total = shards.len() as f64;
        let first = plan(&nodes, &shards, &Bounds::default());
        let (mut waves, mut moved) = (0, 0.0);
        loop {
            let plan = plan(&nodes, &shards, &Bounds::default());
            if plan.moves.is_empty() {
                break;
            }
            assert!(
                plan.moves.iter().all(|m| m.to == count + 1),
                "nothing moves between old nodes"
            );
            let bytes: f64 = plan.moves.iter().map(|m| m.bytes).sum();
            assert!(bytes <= 0.1 * total);
            moved += bytes;
            shards = apply(&shards, &plan);
            waves += 1;
        }
        assert!(fullest(&nodes, &shards) < 1.1, "{count}: {}", fullest(&nodes, &shards));
        assert!(moved <= 1.25 / f64::from(count + 1) * total, "{count}: {moved}");
        assert!(first.waves.abs_diff(waves) <= 1, "{count}: said {}, was {waves}", first.waves);
    }
}

#[test]
fn a_draining_node_is_emptied() {
    let mut nodes = open(4);
    nodes[1].role = Role::Draining;
    let mut shards: Vec<Shard> = (1..=40).map(|id| shard(id, (id % 4) as i32 + 1, 1.0)).collect();
    shards[0].is_movable = false; // on node 2
    let first = plan(&nodes, &shards, &Bounds::default());
    assert_eq!((first.waves, first.moves.len()), (3, 4), "{first:?}");
    for _ in 0..3 {
        let plan = plan(&nodes, &shards, &Bounds::default());
        assert!(plan.moves.iter().all(|m| m.from == 2 && m.to != 2));
        shards = apply(&shards, &plan);
    }
    let left: Vec<i64> = shards.iter().filter(|s| s.node == 2).map(|s| s.id).collect();
    assert_eq!(left, vec![1], "what cannot be moved stays");
    let count = |node| shards.iter().filter(|s| s.node == node).count();
    assert!((1..=4).filter(|n| *n != 2).all(|n| count(n) == 13), "evenly");
}

/// A shard larger than a wave still leaves a draining node, alone.
#[test]
fn a_large_shard_leaves_a_draining_node() {
    let mut nodes = open(2);
    nodes[0].role = Role::Draining;
    let shards = [shard(1, 1, 80.0), shard(2, 1, 1.0), shard(3, 2, 19.0)];
    let plan = plan(&nodes, &shards, &Bounds::default());
    assert_eq!(plan.moves.iter().map(|m| m.shard).collect::<Vec<_>>(), vec![1]);
    assert_eq!(plan.waves, 2);
}

#[test]
fn closed_nodes_and_empty_clusters() {
    let mut nodes = open(3);
    nodes[2].role = Role::Closed;
    let shards: Vec<Shard> = (1..=30).map(|id| shard(id, 3, 1.0)).collect();
    let none = plan(&nodes, &shards, &Bounds::default());
    assert!(none.moves.is_empty(), "a closed node keeps what it has: {none:?}");
    let away: Vec<Shard> = (1..=30).map(|id| shard(id, 1, 1.0)).collect();
    let plan_of = |nodes: &[Node], shards: &[Shard]| plan(nodes, shards, &Bounds::default());
    assert!(plan_of(&nodes, &away).moves.iter().all(|m| m.to == 2));
    assert!(plan_of(&[], &away).moves.is_empty());
    assert!(plan_of(&nodes, &[]).moves.is_empty());
    assert!(plan_of(&open(1), &away).moves.is_empty());
    let weightless: Vec<Shard> = (1..=9).map(|id| shard(id, 1, 0.0)).collect();
    assert!(plan_of(&open(3), &weightless).moves.is_empty());
}

#[test]
fn too_big_shards_are_reported_and_not_shuffled() {
    let nodes = open(4);
    let mut shards = vec![shard(1, 1, 100.0)];
    shards.extend((2..=101).map(|id| shard(id, (id % 4) as i32 + 1, 1.0)));
    let plan = plan(&nodes, &shards, &Bounds { max_movement: 1.0, min_improvement: 0.01 });
    assert_eq!(plan.too_big, vec![1]);
    assert!(plan.moves.iter().all(|m| m.shard != 1), "it is no better anywhere else");
    assert!(plan.moves.iter().all(|m| m.from == 1), "the others make room");
}

#[test]
fn capacity_counts() {
    let mut nodes = open(2);
    nodes[1].weight = 3.0;
    let shards: Vec<Shard> = (1..=100).map(|id| shard(id, (id % 2) as i32 + 1, 1.0)).collect();
    let plan = plan(&nodes, &shards, &Bounds { max_movement: 1.0, ..Bounds::default() });
    assert_eq!(plan.moves.len(), 25, "50:50 becomes 25:75");
    assert!(plan.moves.iter().all(|m| (m.from, m.to) == (1, 2)));
}

/// Where load and bytes differ, a small busy shard goes before a large idle one.
#[test]
fn busy_small_shards_go_first() {
    let nodes = open(2);
    let mut shards: Vec<Shard> = (1..=20).map(|id| shard(id, (id % 2) as i32 + 1, 100.0)).collect();
    for shard in &mut shards {
        shard.load = 1.0;
    }
    let busy = |id| Shard { id, node: 1, bytes: 1.0, load: 2.0, is_movable: true };
    shards.extend((50..53).map(busy));
    let plan = plan(&nodes, &shards, &Bounds { min_improvement: 0.05, ..Bounds::default() });
    assert_eq!(plan.moves.len(), 1, "{plan:?}");
    assert!(plan.moves[0].shard >= 50, "{plan:?}");
    assert!(plan.moves[0].bytes <= 1.0);
}

proptest! {
    #[test]
    fn plans_keep_their_bounds(
        seed: u64,
        nodes in proptest::collection::vec((0.2f64..4.0, 0usize..6), 1..9),
        tenants in 0i64..200,
        budget in 0.01f64..1.0,
    ) {
        let role = |kind| match kind { 0 => Role::Draining, 1 => Role::Closed, _ => Role::Open };
        let nodes: Vec<Node> = (1..).zip(&nodes)
            .map(|(id, &(weight, kind))| Node { id, weight, role: role(kind) })
            .collect();
        let mut random = Random(seed);
        let shards: Vec<Shard> = skewed(seed, tenants, nodes.len() as i32)
            .into_iter()
            .map(|s| Shard { load: random.unit(), is_movable: !random.next().is_multiple_of(10), ..s })
            .collect();
        let bounds = Bounds { max_movement: budget, ..Bounds::default() };
        let plan = plan(&nodes, &shards, &bounds);
        prop_assert_eq!(&plan, &super::plan(&nodes, &shards, &bounds), "equal input, equal plan");
        let moved: f64 = plan.moves.iter().map(|m| m.bytes).sum();
        let total: f64 = shards.iter().map(|s| s.bytes).sum();
        prop_assert!(moved <= total * budget * (1.0 + 1e-9) || plan.moves.len() == 1);
        let mut seen = std::collections::HashSet::new();
        let role_of = |id: i32| nodes[id as usize - 1].role;
        for m in &plan.moves {
            let shard = shards[m.shard as usize - 1];
            prop_assert!(seen.insert(m.shard), "moved once");
            prop_assert!(shard.is_movable && shard.node == m.from && m.from != m.to);
            prop_assert_eq!(role_of(m.to), Role::Open);
            prop_assert!(role_of(m.from) != Role::Closed);
        }
        prop_assert_eq!(plan.moves.is_empty(), plan.waves == 0);
        if !plan.moves.iter().any(|m| role_of(m.from) == Role::Draining) {
            prop_assert!(plan.after.fullest <= plan.before.fullest + 1e-9);
        }
    }
}
