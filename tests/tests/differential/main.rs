//! Runs the same statements on a plain server and in a distributed schema: rows, column descriptions,
//! command tags, notices, every field of every error, reported settings and transaction status
//! must be the same.
//!
//! Each file runs three times: with the simple protocol, with the extended protocol, and with results in
//! binary format; and once on a server that is its own only node, where nothing may differ for any
//! reason. All differences in a file are listed, not only the first.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails by panicking"
)]

mod corpus;
mod side;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;

use helios_tests::{Cluster, PlainServer};

use corpus::Block;
use side::{Protocol, Side};

macro_rules! topics {
    ($($topic:ident)*) => {
        $(#[test] fn $topic() { compare(stringify!($topic)); })*
        const TOPICS: &[&str] = &[$(stringify!($topic)),*];
    };
}

topics! {
    big_values copy cursors ddl_objects ddl_tables dml errors functions names parameters
    partitions prepared privileges procedural queries row_security sequences settings temporary
    transactions triggers types views
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("differential")
}

#[test]
fn every_file_is_a_test() {
    let files = std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    let files: BTreeSet<String> =
        files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let topics = TOPICS.iter().map(|topic| (*topic).to_owned()).collect();
    assert_eq!(files, topics);
}

/// A block with different results: the protocols concerned, and the differences.
#[derive(Default)]
struct Difference {
    protocols: Vec<Protocol>,
    plain: Vec<String>,
    helios: Vec<String>,
}

fn compare(topic: &str) {
    let blocks = corpus::read(&directory().join(format!("{topic}.sql")));
    let mut differences = BTreeMap::<usize, Difference>::new();
    for protocol in [Protocol::Simple, Protocol::Extended, Protocol::Binary] {
        run(topic, &blocks, Cluster::shared(), protocol, &mut differences);
    }
    let mut embedded_differences = BTreeMap::new();
    run(topic, &blocks, embedded(), Protocol::Simple, &mut embedded_differences);
    let mut report = String::new();
    for (i, difference) in &embedded_differences {
        report.push_str("embedded ");
        describe(&mut report, topic, &blocks[*i], difference);
    }
    let mut stated = 0;
    for (i, block) in blocks.iter().enumerate() {
        match (differences.get(&i), &block.differs) {
            (Some(_), Some(_)) => stated += 1,
            (Some(difference), None) => describe(&mut report, topic, block, difference),
            (None, Some(reason)) => {
                let line = block.line;
                writeln!(report, "{topic}.sql:{line}: no longer differs ({reason})").unwrap();
            }
            (None, None) => {}
        }
    }
    // Not println: the output of passing tests is hidden, and this figure should be visible.
    let count = blocks.len();
    writeln!(
        std::io::stderr().lock(),
        "differential {topic}: {count} statements by three protocols, {stated} differ for a \
         stated reason"
    )
    .unwrap();
    assert!(report.is_empty(), "answers differ:\n{report}");
}

/// A server with Helios and without additional nodes.
fn embedded() -> &'static Cluster {
    static EMBEDDED: OnceLock<Cluster> = OnceLock::new();
    EMBEDDED.get_or_init(|| Cluster::start(0))
}

fn run(
    topic: &str,
    blocks: &[Block],
    cluster: &Cluster,
    protocol: Protocol,
    differences: &mut BTreeMap<usize, Difference>,
) {
    let plain = &PlainServer::shared().server;
    let mut plain = Side::new(plain, topic, &format!("CREATE SCHEMA {topic}"), protocol);
    let create = format!("CREATE SCHEMA {topic} DISTRIBUTED");
    let mut helios = Side::new(cluster.coordinator(), topic, &create, protocol);
    for (i, block) in blocks.iter().enumerate() {
        let (expected, got) = (plain.run(block), helios.run(block));
        if expected == got {
            continue;
        }
        let lost = |lines: &[String]| lines.iter().any(|line| line.starts_with("LOST"));
        if lost(&expected) || lost(&got) {
            plain.forget(&block.session);
            helios.forget(&block.session);
        }
        let difference = differences.entry(i).or_default();
        difference.protocols.push(protocol);
        if difference.protocols.len() == 1 {
            (difference.plain, difference.helios) = (expected, got);
        }
    }
    plain.finish();
    helios.finish();
}

/// The lines that occur only, or more often, on one side.
fn describe(report: &mut String, topic: &str, block: &Block, difference: &Difference) {
    let Difference { protocols, plain, helios } = difference;
    writeln!(report, "--- {topic}.sql:{} {protocols:?}\n{}", block.line, block.sql).unwrap();
    let mut show = |mark: &str, lines: &[String], mut other: Vec<&String>| {
        let mut shown = 0;
        for line in lines {
            match other.iter().position(|theirs| *theirs == line) {
                Some(place) => drop(other.swap_remove(place)),
                None if shown < 12 => {
                    let line: String = line.chars().take(400).collect();
                    writeln!(report, "  {mark} {line}").unwrap();
                    shown += 1;
                }
                None => {}
            }
        }
        shown
    };
    let only = show("plain: ", plain, helios.iter().collect());
    if only + show("helios:", helios, plain.iter().collect()) == 0 {
        report.push_str("  the same lines in another order\n");
    }
}
