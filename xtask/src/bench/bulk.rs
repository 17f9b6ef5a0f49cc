//! Reads and loads a million rows with one statement.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::receiver::drain;
use super::targets::{SCALE, Target, Targets};
use super::{Options, median};
use testkit::cluster::DATABASE;
use testkit::command;
use testkit::progress::Step;

/// Rows of one statement.
const ROWS: u64 = SCALE as u64 * 100_000;

/// A run slower than this many seconds is not repeated: it is no contender, and repeating it would dominate the run time.
const TOO_LONG: f64 = 20.0;

/// Bulk operation to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// `SELECT` of a whole table.
    Select,
    /// `COPY … FROM STDIN` into an empty table without keys.
    CopyIn,
}

/// All bulk scenarios.
pub const SCENARIOS: [Scenario; 2] = [Scenario::Select, Scenario::CopyIn];

impl Scenario {
    /// Scenario name on the command line and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Select => "select-1m",
            Self::CopyIn => "copy-in-1m",
        }
    }
}

/// One row of the bulk table.
pub struct Row {
    /// Scenario name.
    pub scenario: &'static str,
    /// Target name.
    pub target: &'static str,
    /// Seconds for all rows, or `None` if every run failed.
    pub seconds: Option<f64>,
    /// Median over the rounds of the rate relative to direct: 1 is as fast, 0.5 takes twice as long.
    pub ratio: Option<f64>,
    /// Milliseconds of CPU between client and node.
    pub router_ms: Option<f64>,
    /// Milliseconds of CPU on the node.
    pub node_ms: Option<f64>,
    /// Growth of the serving process's private memory, in MB.
    pub growth_mb: Option<f64>,
}

#[derive(Default)]
struct Figures {
    seconds: Vec<f64>,
    ratio: Vec<f64>,
    router_ms: Vec<f64>,
    node_ms: Vec<f64>,
    growth_mb: Vec<f64>,
}

/// Runs the scenarios on all targets, alternating between targets.
pub fn measure(
    targets: &Targets,
    scenarios: &[&Scenario],
    options: &Options,
    failures: &mut Vec<String>,
) -> Result<Vec<Row>> {
    let copied = copy_rows();
    let mut rows = Vec::new();
    for scenario in scenarios {
        let step = Step::start(scenario.name());
        let mut all: Vec<Figures> = targets.all.iter().map(|_| Figures::default()).collect();
        for _ in 0..options.rounds {
            let mut direct = None;
            for (target, figures) in targets.all.iter().zip(&mut all) {
                if figures.seconds.iter().any(|seconds| *seconds > TOO_LONG) {
                    continue;
                }
                match one(targets, target, **scenario, &copied, figures) {
                    Ok(time) => {
                        let seconds = time.as_secs_f64();
                        if target.is_direct() {
                            direct = Some(seconds);
                        }
                        figures.seconds.push(seconds);
                        figures.ratio.extend(direct.map(|direct| direct / seconds));
                    }
                    Err(error) => {
                        failures.push(format!("{} on {}: {error:#}", scenario.name(), target.name));
                    }
                }
            }
        }
        step.done("");
        rows.extend(targets.all.iter().zip(&mut all).map(|(target, figures)| Row {
            scenario: scenario.name(),
            target: target.name,
            seconds: median(&mut figures.seconds),
            ratio: median(&mut figures.ratio),
            router_ms: target.router.and_then(|_| median(&mut figures.router_ms)),
            node_ms: median(&mut figures.node_ms),
            growth_mb: median(&mut figures.growth_mb),
        }));
    }
    Ok(rows)
}

fn one(
    targets: &Targets,
    target: &Target,
    scenario: Scenario,
    copied: &str,
    figures: &mut Figures,
) -> Result<Duration> {
    if scenario == Scenario::CopyIn {
        targets.node().connect(DATABASE)?.batch_execute("TRUNCATE bench.copied; CHECKPOINT")?;
    }
    let before = targets.cpu(target)?;
    let time = match scenario {
        Scenario::Select => {
            let process = if target.reports_process { None } else { target.router };
            let warm_up = "SELECT * FROM bench.pgbench_accounts WHERE aid < 100";
            let query = "SELECT * FROM bench.pgbench_accounts";
            let drained =
                drain(targets.connect(target)?, target.database, warm_up, query, process)?;
            if drained.rows != ROWS {
                bail!("{} of {ROWS} rows arrived", drained.rows);
            }
            figures.growth_mb.extend(drained.growth_kb.map(|kb| kb as f64 / 1024.0));
            drained.time
        }
        Scenario::CopyIn => {
            let mut psql = targets.client(target, "psql")?;
            psql.args(["--no-psqlrc", "--command", "COPY bench.copied FROM STDIN"]);
            let start = Instant::now();
            let tag = command::output_of_input(&mut psql, copied.as_bytes())?;
            if tag.trim() != format!("COPY {ROWS}") {
                bail!("unexpected command tag from COPY: {tag:?}");
            }
            start.elapsed()
        }
    };
    let after = targets.cpu(target)?;
    figures.router_ms.push(after.router - before.router);
    figures.node_ms.push(after.node - before.node);
    Ok(time)
}

fn copy_rows() -> String {
    let mut rows = String::new();
    for i in 0..ROWS {
        let _ = writeln!(rows, "{i}\t{}\tword number {i} of a million", i % 1000);
    }
    rows
}
