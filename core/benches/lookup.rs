//! Benchmarks the lookups that a statement needs in a backend that has cached 100,000 schemas, and those of placement
//! in a cluster of 32 nodes. The limit is 500 ns each.

#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use helios_core::frames::FrameBuffer;
use helios_core::generation::Generational;
use helios_core::ring::{Member, Ring, VIRTUAL_NODES};
use helios_core::slot::slot_of;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hint::black_box;

const SCHEMAS: u32 = 100_000;
const NODES: i32 = 32;
/// The generation used for all lookups.
const NOW: (u64, u64) = (7, 9);

/// Shard and node of each schema, by its OID.
type Placements = HashMap<u32, Option<(i64, i32)>>;

thread_local! {
    /// Cached as in the extension.
    static CACHE: RefCell<Generational<(u64, u64), Placements>> = RefCell::default();
}

fn placement(schema: u32) -> Option<Option<(i64, i32)>> {
    CACHE.with_borrow_mut(|cache| cache.current(black_box(NOW)).get(&schema).copied())
}

fn lookups(criterion: &mut Criterion) {
    let names: Vec<String> = (0..SCHEMAS).map(|i| format!("tenant_{i}")).collect();
    // far apart, so that CPU caches do not help
    let mut step = 0usize;
    let mut next = move || {
        step = (step + 7919) % SCHEMAS as usize;
        step
    };

    CACHE.with_borrow_mut(|cache| {
        let placement_of =
            |schema: u32| Some((i64::from(schema % 64), (schema % NODES as u32) as i32));
        cache
            .current(NOW)
            .extend((0..SCHEMAS).map(|schema| (schema + 16_384, placement_of(schema))));
    });
    criterion.bench_function("schema → shard and node", |bencher| {
        bencher.iter(|| placement(black_box(next() as u32 + 16_384)).unwrap());
    });
    criterion.bench_function("name → slot", |bencher| {
        bencher.iter(|| slot_of(black_box(&names[next()])));
    });
    let members: Vec<Member> = (0..NODES).map(|id| Member { id, weight: 1.0 }).collect();
    let ring = Ring::new(&members, VIRTUAL_NODES);
    criterion.bench_function("name → node of the ring", |bencher| {
        bencher.iter(|| ring.owner(black_box(names[next()].as_bytes())).unwrap());
    });
}

/// One million rows with three columns through a session's read buffer.
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
                    let room = buffer.room().unwrap();
                    let count = room.len().min(rest.len());
                    room[..count].copy_from_slice(&rest[..count]);
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
