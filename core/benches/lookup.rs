//! How long the look-ups on a statement's way take, in a cluster of 10,000 pooled shards, 100,000
//! schemas and 32 nodes. The bound is 500 ns each.

#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use helios_core::directory::{Directory, Shard};
use helios_core::frames::FrameBuffer;
use helios_core::ring::{Member, Ring, VIRTUAL_NODES};
use helios_core::shard::{Bounds, Strategy, initial};
use helios_core::slot::slot_of;
use std::hint::black_box;

const SHARDS: u32 = 10_000;
const SCHEMAS: u32 = 100_000;
const NODES: i32 = 32;

fn directory(strategy: Strategy) -> Directory {
    let pooled = (1i64..).zip(initial(strategy, SHARDS)).map(|(id, rectangle)| Shard {
        id,
        node: (id % i64::from(NODES)) as i32,
        bounds: Bounds::Pooled(rectangle),
    });
    let schemas = (0..SCHEMAS).map(|schema| (schema + 16_384, i64::from(schema % SHARDS) + 1));
    Directory::new(0..NODES, pooled, schemas).unwrap()
}

fn lookups(criterion: &mut Criterion) {
    let names: Vec<String> = (0..SCHEMAS).map(|i| format!("tenant_{i}")).collect();
    // far apart, so that caches do not flatter
    let mut step = 0usize;
    let mut next = move || {
        step = (step + 7919) % SCHEMAS as usize;
        step
    };

    let hash = directory(Strategy::Hash);
    criterion.bench_function("schema → shard → node", |bencher| {
        bencher.iter(|| hash.placement(black_box(next() as u32 + 16_384)).unwrap());
    });
    criterion.bench_function("name → slot", |bencher| {
        bencher.iter(|| slot_of(black_box(&names[next()])));
    });
    for strategy in [Strategy::Hash, Strategy::Range, Strategy::Composite] {
        let directory = directory(strategy);
        criterion.bench_function(
            &format!("name → pooled shard → node ({strategy})"),
            |bencher| {
                bencher.iter(|| directory.home(black_box(&names[next()])).unwrap());
            },
        );
    }
    let members: Vec<Member> = (0..NODES).map(|id| Member { id, weight: 1.0 }).collect();
    let ring = Ring::new(&members, VIRTUAL_NODES);
    criterion.bench_function("name → node of the ring", |bencher| {
        bencher.iter(|| ring.owner(black_box(names[next()].as_bytes())).unwrap());
    });
}

/// One million rows of three columns through the read buffer, in reads of 64 KiB.
fn frames(criterion: &mut Criterion) {
    let row = b"D\0\0\0\x1f\0\x03\0\0\0\x0512345\xff\xff\xff\xff\0\0\0\x08abcdefgh";
    let stream = row.repeat(2000);
    criterion.bench_function("a million rows cut", |bencher| {
        let mut buffer = FrameBuffer::default();
        bencher.iter(|| {
            let mut rows = 0u32;
            for _ in 0..500 {
                let mut rest = stream.as_slice();
                while !rest.is_empty() {
                    let spare = buffer.spare();
                    let count = spare.len().min(rest.len());
                    spare[..count].copy_from_slice(&rest[..count]);
                    buffer.filled(count);
                    rest = &rest[count..];
                    while let Some(frame) = buffer.next_frame().unwrap() {
                        rows += u32::from(black_box(frame).kind == b'D');
                    }
                }
            }
            assert_eq!(rows, 1_000_000);
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = lookups, frames
}
criterion_main!(benches);
