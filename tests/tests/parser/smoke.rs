//! No text parses differently with Helios unless it creates a distributed schema.

use std::time::Instant;

use fastrand::Rng;

use crate::corpus::{self, File};
use crate::mutate::{Creation, mutated};
use crate::oracle::{Oracle, Relation, Servers, harmless, is_parsed, refused_at_distributed};

/// Number of concurrent sessions on each of the servers.
const SESSIONS: usize = 2;

/// Number of mutations of each statement.
const MUTATIONS: usize = 2;

/// Number of statements with a clause, each tried alone and between two statements of the corpus.
const CREATIONS: usize = 4000;

/// Maximum number of differences shown.
const SHOWN: usize = 5;

/// The seed of all random choices: the same in each run, unless overridden by HELIOS_SEED.
fn seed() -> u64 {
    let seed = std::env::var("HELIOS_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("HELIOS_SEED={seed}");
    seed
}

/// Counts of results, and failures.
#[derive(Default)]
struct Tally {
    parsed: usize,
    refused: usize,
    distributed: usize,
    malformed: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn note(&mut self, answer: Result<Relation, String>) {
        match answer {
            Ok(Relation::Parsed) => self.parsed += 1,
            Ok(Relation::Refused) => self.refused += 1,
            Ok(Relation::Distributed) => self.distributed += 1,
            Ok(Relation::Malformed) => self.malformed += 1,
            Err(difference) => self.wrong.push(difference),
        }
    }

    fn add(&mut self, other: Self) {
        self.parsed += other.parsed;
        self.refused += other.refused;
        self.distributed += other.distributed;
        self.malformed += other.malformed;
        self.wrong.extend(other.wrong);
    }

    fn texts(&self) -> usize {
        self.parsed + self.refused + self.distributed + self.malformed + self.wrong.len()
    }

    #[track_caller]
    fn assert_equal(&self, started: Instant) {
        println!(
            "{} texts in {:.1} s: {} parsed, {} refused, {} distributed, {} with a mistake in the \
             clause, {} different",
            self.texts(),
            started.elapsed().as_secs_f64(),
            self.parsed,
            self.refused,
            self.distributed,
            self.malformed,
            self.wrong.len()
        );
        let shown: Vec<&str> = self.wrong.iter().take(SHOWN).map(String::as_str).collect();
        assert!(shown.is_empty(), "{} differ\n{}", self.wrong.len(), shown.join("\n\n"));
    }
}

/// Distributes the items over several sessions.
fn shared_out<T: Sync>(
    servers: &Servers,
    standard_conforming_strings: bool,
    items: &[T],
    work: impl Fn(&mut Oracle, &T, &mut Tally) + Sync,
) -> Tally {
    let run = |first: usize| {
        let mut oracle = Oracle::new(servers, standard_conforming_strings);
        let mut tally = Tally::default();
        for item in items.iter().skip(first).step_by(SESSIONS) {
            work(&mut oracle, item, &mut tally);
        }
        tally
    };
    let run = &run;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..SESSIONS).map(|first| scope.spawn(move || run(first))).collect();
        let mut total = Tally::default();
        for thread in threads {
            total.add(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        total
    })
}

/// Whole files, each statement, and adjacent ones in one string.
fn compare_as_it_is(oracle: &mut Oracle, file: &File, tally: &mut Tally) {
    tally.note(oracle.compare(&harmless(&file.text)));
    for statement in &file.statements {
        tally.note(oracle.compare(&harmless(statement)));
    }
    for neighbours in file.statements.chunks(4) {
        tally.note(oracle.compare(&harmless(&neighbours.join(";\n"))));
    }
}

fn compare_mutations(oracle: &mut Oracle, file: &File, seed: u64, tally: &mut Tally) {
    let mut rng = Rng::with_seed(seed ^ file.text.len() as u64);
    for (i, statement) in file.statements.iter().enumerate() {
        for _ in 0..MUTATIONS {
            let text = mutated(&mut rng, statement);
            tally.note(oracle.compare(&harmless(&text)));
        }
        if i % 8 == 0 {
            let end = (i + 3).min(file.statements.len());
            let text = mutated(&mut rng, &file.statements[i..end].join(";"));
            tally.note(oracle.compare(&harmless(&text)));
        }
    }
}

#[test]
fn smoke_regression_suites_parse_as_on_a_plain_server() {
    let Some(files) = corpus::files() else { return };
    let servers = Servers::start();
    let started = Instant::now();
    let tally = shared_out(&servers, true, &files, compare_as_it_is);
    tally.assert_equal(started);
    assert!(tally.parsed > 20_000, "too few texts");
    assert_eq!(tally.distributed + tally.malformed, 0);
}

#[test]
fn smoke_mutated_statements_parse_as_on_a_plain_server() {
    let Some(files) = corpus::files() else { return };
    let (seed, servers, started) = (seed(), Servers::start(), Instant::now());
    let tally = shared_out(&servers, true, &files, |oracle, file, tally| {
        compare_mutations(oracle, file, seed, tally);
    });
    tally.assert_equal(started);
    for count in [tally.parsed, tally.refused, tally.distributed, tally.malformed] {
        assert!(count > 50, "the mutations miss something");
    }
}

/// With `standard_conforming_strings = off`, strings end elsewhere.
#[test]
fn smoke_old_strings_parse_as_on_a_plain_server() {
    let Some(files) = corpus::files() else { return };
    let (seed, servers, started) = (seed(), Servers::start(), Instant::now());
    let some: Vec<&File> = files.iter().step_by(4).collect();
    let tally = shared_out(&servers, false, &some, |oracle, file, tally| {
        compare_as_it_is(oracle, file, tally);
        compare_mutations(oracle, file, !seed, tally);
    });
    tally.assert_equal(started);
}

/// A statement with the clause parses like the one without it, and is a syntax error at
/// DISTRIBUTED on a plain server.
#[test]
fn smoke_distributed_schemas_parse_as_plain_ones() {
    let Some(files) = corpus::files() else { return };
    let (seed, servers, started) = (seed(), Servers::start(), Instant::now());
    let mut rng = Rng::with_seed(seed);
    let statements: Vec<&String> = files.iter().flat_map(|file| &file.statements).collect();
    let mut creations = Vec::new();
    for _ in 0..CREATIONS {
        let mut neighbour = || statements[rng.usize(..statements.len())].as_str();
        let (before, after) = (neighbour(), neighbour());
        creations.push(("", Creation::random(&mut rng), ""));
        creations.push((before, Creation::random(&mut rng), after));
    }
    let tally =
        shared_out(&servers, true, &creations, |oracle, (before, creation, after), tally| {
            tally.note(compare_creation(oracle, before, creation, after));
        });
    tally.assert_equal(started);
    assert!(tally.distributed > CREATIONS, "too few texts");
}

fn compare_creation(
    oracle: &mut Oracle,
    before: &str,
    creation: &Creation,
    after: &str,
) -> Result<Relation, String> {
    let Creation { head, clause, tail } = creation;
    let separator = if before.is_empty() { "" } else { ";\n" };
    let start = harmless(&format!("{before}{separator}{head} "));
    let end = format!("{tail};{after}");
    let text = format!("{start}{clause}{end}");
    // If the statement before it does not parse, both give the same error for that.
    if !is_parsed(&oracle.plain(&start)) {
        return oracle.compare(&text);
    }
    let blanks = " ".repeat(clause.chars().count());
    let without = oracle.plain(&format!("{start}{blanks}{end}"));
    let (with, plain) = (oracle.helios(&text), oracle.plain(&text));
    let show = |what: &str| {
        format!("{what}\n--- text\n{text}\n--- without\n{without:?}\n--- with\n{with:?}")
    };
    if with != without {
        return Err(show("the clause changes how the rest parses"));
    }
    if refused_at_distributed(&plain, &text) != Some(start.len()) {
        return Err(show(&format!("a plain server says {plain:?}")));
    }
    Ok(Relation::Distributed)
}
