//! Benchmarks planning: 100,000 tenants, each in a dedicated shard, on 64 nodes. The limit is 1 s.

#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use helios_core::rebalance::{Bounds, Node, Role, Shard, plan};
use std::hint::black_box;

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Lognormal sizes, σ = 2, placed by hash, with independent loads.
fn cluster(tenants: i64, nodes: i32) -> (Vec<Node>, Vec<Shard>) {
    let mut state = 1;
    let unit = |state: &mut u64| (next(state) >> 11) as f64 / (1u64 << 53) as f64;
    let mut lognormal = move || {
        let (a, b) = (unit(&mut state).max(1e-300), unit(&mut state));
        (2.0 * (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()).exp()
    };
    let mut place = 7;
    let shards = (1..=tenants).map(|id| Shard {
        id,
        node: (next(&mut place) % nodes as u64) as i32 + 1,
        bytes: lognormal() * 1e6,
        load: lognormal() / 1e4,
        is_movable: true,
    });
    let open = |id| Node { id, weight: 1.0, role: Role::Open };
    ((1..=nodes).map(open).collect(), shards.collect())
}

fn planning(criterion: &mut Criterion) {
    let (mut nodes, shards) = cluster(100_000, 64);
    let bounds = Bounds::default();
    criterion.bench_function("plan 100,000 tenants on 64 nodes", |bencher| {
        bencher.iter(|| plan(black_box(&nodes), black_box(&shards), &bounds));
    });
    nodes.extend((65..=72).map(|id| Node { id, weight: 1.0, role: Role::Open }));
    criterion.bench_function("… and 8 new ones", |bencher| {
        bencher.iter(|| plan(black_box(&nodes), black_box(&shards), &bounds));
    });
    nodes[0].role = Role::Draining;
    criterion.bench_function("… with one that drains", |bencher| {
        bencher.iter(|| plan(black_box(&nodes), black_box(&shards), &bounds));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = planning
}
criterion_main!(benches);
