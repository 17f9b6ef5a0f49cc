//! Benchmarks: the same work directly on a node, through Helios, and through pgbouncer and
//! postgres_fdw for comparison, all in one run on one machine.
//!
//! Absolute figures from a small or busy machine mean little. Therefore the targets alternate (direct,
//! helios, …, direct, helios, …), each figure is the median of its rounds, and the figure to look at is the
//! ratio to direct. CPU time comes from the kernel's accounting of each server's processes.

mod bulk;
mod distributed;
mod migration;
mod places;
mod receiver;
mod report;
mod short;
mod targets;

use std::fs;

use anyhow::{Context, Result, bail};

use crate::setup::{self, Need};
use targets::Targets;
use testkit::paths;
use testkit::postgres::DEFAULT_MAJOR;

/// Transport between clients, servers and the pooler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    /// Unix-domain sockets.
    Unix,
    /// TCP over the loopback interface.
    Tcp,
}

/// What to measure, and how long.
#[derive(Debug, Clone)]
pub struct Options {
    /// Scenarios whose names contain one of these; all scenarios if empty.
    pub names: Vec<String>,
    /// Duration of one run of short transactions.
    pub seconds: u32,
    /// Number of rounds of each measurement.
    pub rounds: usize,
    /// Numbers of clients.
    pub clients: Vec<u32>,
    /// Transport used on every hop.
    pub transport: Transport,
    /// Size of the tenant that is moved.
    pub megabytes: u32,
    /// Rows of the tables that are joined over several places; others are in proportion.
    pub rows: u32,
    /// Write the tables to `benches/RESULTS.md`.
    pub save: bool,
}

impl Options {
    fn wants(&self, scenario: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| scenario.contains(name.as_str()))
    }
}

/// Runs the benchmarks and prints the tables; fails if a scenario failed on some target.
pub fn run(options: &Options) -> Result<()> {
    let short: Vec<_> = short::SCENARIOS.iter().filter(|s| options.wants(s.name)).collect();
    let bulk: Vec<_> = bulk::SCENARIOS.iter().filter(|s| options.wants(s.name())).collect();
    let two_nodes = options.wants(distributed::NAME);
    let moves = options.wants(migration::NAME);
    let places = options.wants(places::NAME);
    let others = two_nodes || !short.is_empty() || !bulk.is_empty();
    if !others && !moves && !places {
        let names = short::SCENARIOS.iter().map(|s| s.name);
        let names = names.chain(bulk::SCENARIOS.iter().map(|s| s.name()));
        let names: Vec<_> =
            names.chain([distributed::NAME, migration::NAME, places::NAME]).collect();
        bail!("no scenario matches; available scenarios: {}", names.join(", "));
    }
    setup::packages(&[Need::Build, Need::Bench])?;
    let pg = setup::required_postgres(DEFAULT_MAJOR)?;
    crate::extension::build_and_install(&pg)?;
    let mut failures = Vec::new();
    let mut text = report::heading(&pg, options)?;
    if !short.is_empty() || !bulk.is_empty() {
        let targets = Targets::start(&pg, options.transport)?;
        if !short.is_empty() {
            let rows = short::measure(&targets, &short, options, &mut failures)?;
            text.push_str(&report::short_table(&rows));
        }
        if !bulk.is_empty() {
            let rows = bulk::measure(&targets, &bulk, options, &mut failures)?;
            text.push_str(&report::bulk_table(&rows));
        }
    }
    if two_nodes {
        text.push_str(&report::distributed_table(&distributed::measure(&pg, options)?));
    }
    if places {
        let rows = places::measure(&pg, options, &mut failures)?;
        text.push_str(&places::table(&rows, options.rows));
    }
    if moves {
        let figures = migration::measure(&pg, options)?;
        if !figures.is_good() {
            failures.push("a move lost or duplicated writes, or caused client errors".to_owned());
        }
        text.push_str(&migration::table(&figures));
    }
    println!("{text}");
    if options.save {
        let path = paths::workspace().join("benches/RESULTS.md");
        if !others {
            // Each of these sections is independent of the others: keep those.
            let mut saved = fs::read_to_string(&path).unwrap_or_default();
            for title in [migration::TITLE, places::TITLE] {
                saved = report::with_section(&saved, title, &text);
            }
            text = saved;
        }
        fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("results written to {}", path.display());
    }
    if !failures.is_empty() {
        bail!("{} run(s) failed:\n{}", failures.len(), failures.join("\n"));
    }
    Ok(())
}

/// The median: the middle value, or the mean of the two middle values.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn median_is_the_middle() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }
}
