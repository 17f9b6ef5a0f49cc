//! Short transactions, run by pgbench.

use anyhow::{Context, Result, bail};

use super::targets::{SCALE, Target, Targets};
use super::{Options, median};
use testkit::command;
use testkit::progress::Step;

/// A pgbench script and the query mode it is run with.
pub struct Scenario {
    /// Scenario name on the command line and in the table.
    pub name: &'static str,
    protocol: &'static str,
    script: &'static str,
}

const SELECT: &str = "\\set aid random(1, 100000 * :scale)\n\
    SELECT abalance FROM bench.pgbench_accounts WHERE aid = :aid;\n";

const UPDATE: &str = "\\set aid random(1, 100000 * :scale)\n\\set delta random(-5000, 5000)\n\
    UPDATE bench.pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;\n";

/// pgbench's built-in TPC-B-like transaction, with schema-qualified table names.
const TPCB: &str = "\\set aid random(1, 100000 * :scale)\n\\set bid random(1, 1 * :scale)\n\
    \\set tid random(1, 10 * :scale)\n\\set delta random(-5000, 5000)\nBEGIN;\n\
    UPDATE bench.pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;\n\
    SELECT abalance FROM bench.pgbench_accounts WHERE aid = :aid;\n\
    UPDATE bench.pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;\n\
    UPDATE bench.pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;\n\
    INSERT INTO bench.pgbench_history (tid, bid, aid, delta, mtime) \
    VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);\nEND;\n";

/// All scenarios of short transactions.
pub const SCENARIOS: [Scenario; 6] = [
    Scenario { name: "select-simple", protocol: "simple", script: SELECT },
    Scenario { name: "select-extended", protocol: "extended", script: SELECT },
    Scenario { name: "select-prepared", protocol: "prepared", script: SELECT },
    Scenario { name: "update-prepared", protocol: "prepared", script: UPDATE },
    Scenario { name: "tpcb-simple", protocol: "simple", script: TPCB },
    Scenario { name: "tpcb-prepared", protocol: "prepared", script: TPCB },
];

/// One row of the table of short transactions.
pub struct Row {
    /// Scenario name.
    pub scenario: &'static str,
    /// Number of clients.
    pub clients: u32,
    /// Target name.
    pub target: &'static str,
    /// Transactions per second, or `None` if every run failed.
    pub tps: Option<f64>,
    /// Median over the rounds of the rate relative to direct.
    pub ratio: Option<f64>,
    /// Microseconds of CPU per transaction between client and node.
    pub router_us: Option<f64>,
    /// Microseconds of CPU per transaction on the node.
    pub node_us: Option<f64>,
}

#[derive(Default)]
struct Figures {
    tps: Vec<f64>,
    ratio: Vec<f64>,
    router_us: Vec<f64>,
    node_us: Vec<f64>,
}

/// Runs the scenarios with each number of clients on all targets, alternating between targets.
pub fn measure(
    targets: &Targets,
    scenarios: &[&Scenario],
    options: &Options,
    failures: &mut Vec<String>,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for scenario in scenarios {
        for &clients in &options.clients {
            let step = Step::start(format!("{} with {clients} clients", scenario.name));
            let mut all: Vec<Figures> = targets.all.iter().map(|_| Figures::default()).collect();
            for _ in 0..options.rounds {
                let mut direct = None;
                for (target, figures) in targets.all.iter().zip(&mut all) {
                    match one(targets, target, scenario, clients, options.seconds) {
                        Ok(run) => {
                            if target.is_direct() {
                                direct = Some(run.tps);
                            }
                            figures.tps.push(run.tps);
                            figures.ratio.extend(direct.map(|direct| run.tps / direct));
                            figures.router_us.push(run.router_us);
                            figures.node_us.push(run.node_us);
                        }
                        Err(error) => failures
                            .push(format!("{} on {}: {error:#}", scenario.name, target.name)),
                    }
                }
            }
            step.done("");
            rows.extend(targets.all.iter().zip(&mut all).map(|(target, figures)| Row {
                scenario: scenario.name,
                clients,
                target: target.name,
                tps: median(&mut figures.tps),
                ratio: median(&mut figures.ratio),
                router_us: target.router.and_then(|_| median(&mut figures.router_us)),
                node_us: median(&mut figures.node_us),
            }));
        }
    }
    Ok(rows)
}

struct Run {
    tps: f64,
    router_us: f64,
    node_us: f64,
}

fn one(
    targets: &Targets,
    target: &Target,
    scenario: &Scenario,
    clients: u32,
    seconds: u32,
) -> Result<Run> {
    let script = targets.file("script.sql", scenario.script)?;
    let mut pgbench = targets.client(target, "pgbench")?;
    pgbench.args(["--no-vacuum", "--protocol", scenario.protocol, "--file"]).arg(&script);
    pgbench.args(["--client", &clients.to_string(), "--jobs", &clients.min(2).to_string()]);
    pgbench.args(["--time", &seconds.to_string(), "--define", &format!("scale={SCALE}")]);
    // postgres_fdw uses REPEATABLE READ for its remote transactions, so concurrent updates of one row
    // fail there and must be retried. The other targets do not have that problem.
    pgbench.arg("--max-tries=1000");
    let before = targets.cpu(target)?;
    let output = command::output(&mut pgbench);
    let after = targets.cpu(target)?;
    let output = output?;
    let figure = |name: &str| -> Result<f64> {
        let line = output.lines().find_map(|line| line.trim().strip_prefix(name));
        let word = line.and_then(|line| line.split_whitespace().next());
        let number = word.and_then(|word| word.split('/').next()?.parse().ok());
        number.with_context(|| format!("pgbench printed no \"{name}\"\n{output}"))
    };
    let transactions = figure("number of transactions actually processed:")?;
    let failed = figure("number of failed transactions:")?;
    let retried = figure("number of transactions retried:")?;
    if failed > 0.0 || transactions < 1.0 || (retried > 0.0 && !target.may_retry) {
        bail!(
            "of {transactions} transactions, {failed} failed and {retried} were retried\n{output}"
        );
    }
    Ok(Run {
        tps: figure("tps =")?,
        router_us: (after.router - before.router) * 1000.0 / transactions,
        node_us: (after.node - before.node) * 1000.0 / transactions,
    })
}
