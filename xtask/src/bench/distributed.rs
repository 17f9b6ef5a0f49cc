//! Compares a transaction that writes on two nodes with the same two writes committed one after the other by a
//! client connected to both nodes.
//!
//! Two-phase commit mostly costs additional durable commits, so one of the runs has `fsync` on.

use std::time::{Duration, Instant};

use anyhow::Result;
use postgres::Client;

use super::{Options, median};
use testkit::cluster::DATABASE;
use testkit::postgres::Postgres;
use testkit::progress::Step;
use testkit::scratch::Scratch;

/// Scenario name on the command line and in the table.
pub const NAME: &str = "two-writing-nodes";

/// Number of rows updated in rotation.
const ROWS: u32 = 1000;

/// One row of the distributed-transaction table.
pub struct Row {
    /// Whether commits wait for the disk.
    pub fsync: bool,
    /// Microseconds for a local commit on each node, one after the other.
    pub local_us: Option<f64>,
    /// Microseconds for the same writes in one transaction through Helios.
    pub helios_us: Option<f64>,
    /// Median over the rounds of Helios' time divided by the two local commits' time.
    pub times: Option<f64>,
}

/// Measures with and without `fsync`, alternating between both ways of committing.
pub fn measure(pg: &Postgres, options: &Options) -> Result<Vec<Row>> {
    [true, false].into_iter().map(|fsync| one(pg, options, fsync)).collect()
}

fn one(pg: &Postgres, options: &Options, fsync: bool) -> Result<Row> {
    let step = Step::start(format!("{NAME} with fsync {}", if fsync { "on" } else { "off" }));
    let scratch = Scratch::new(3)?;
    let setting = format!("fsync = {}", if fsync { "on" } else { "off" });
    let cluster = scratch.cluster(pg, 2, &[&setting, "autovacuum = off"])?;
    let mut client = cluster.coordinator().connect(DATABASE)?;
    for (schema, node) in [("one", "node-1"), ("two", "node-2")] {
        client.batch_execute(&format!(
            "CREATE SCHEMA {schema} DISTRIBUTED ON NODE \"{node}\";
             CREATE TABLE {schema}.t (id int PRIMARY KEY, x int NOT NULL);
             INSERT INTO {schema}.t SELECT i, 0 FROM generate_series(1, {ROWS}) i"
        ))?;
    }
    let mut nodes = [cluster.nodes()[0].connect(DATABASE)?, cluster.nodes()[1].connect(DATABASE)?];
    let (mut local, mut through, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let a = repeat(options, |id| {
            for (node, schema) in nodes.iter_mut().zip(["one", "two"]) {
                node.batch_execute(&format!("BEGIN; {} COMMIT", update(schema, id)))?;
            }
            Ok(())
        })?;
        let b = repeat(options, |id| transact(&mut client, id))?;
        local.push(a);
        through.push(b);
        times.push(b / a);
    }
    step.done("");
    Ok(Row {
        fsync,
        local_us: median(&mut local),
        helios_us: median(&mut through),
        times: median(&mut times),
    })
}

fn update(schema: &str, id: u32) -> String {
    format!("UPDATE {schema}.t SET x = x + 1 WHERE id = {id};")
}

fn transact(client: &mut Client, id: u32) -> Result<()> {
    let [one, two] = ["one", "two"].map(|schema| update(schema, id));
    client.batch_execute(&format!("BEGIN; {one} {two} COMMIT"))?;
    Ok(())
}

/// Average time in microseconds of one call of `work`, which is repeated for as long as a run of short transactions.
fn repeat(options: &Options, mut work: impl FnMut(u32) -> Result<()>) -> Result<f64> {
    let until = Duration::from_secs(options.seconds.into());
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < until {
        work(count % ROWS + 1)?;
        count += 1;
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(count))
}
