//! A transaction that writes on two nodes, against the same two writes committed one after the other by a
//! client that is connected to both nodes itself.
//!
//! Durable commits are what two-phase commit costs most of, so that `fsync` is on in one of the runs.

use std::time::{Duration, Instant};

use anyhow::Result;
use postgres::Client;

use super::{Options, median};
use testkit::cluster::DATABASE;
use testkit::postgres::Postgres;
use testkit::progress::Step;
use testkit::scratch::Scratch;

/// Its name on the command line and in the table.
pub const NAME: &str = "two-writing-nodes";

/// Rows that are updated in turn.
const ROWS: u32 = 1000;

/// One line of the table.
pub struct Row {
    /// Whether commits wait for the disk.
    pub fsync: bool,
    /// Microseconds for one commit on each node in turn.
    pub local_us: Option<f64>,
    /// Microseconds for the one transaction through Helios.
    pub helios_us: Option<f64>,
    /// The median of the rounds' quotients: 1 takes as long as the two local commits.
    pub times: Option<f64>,
}

/// Runs it with and without `fsync`, the two ways taking turns.
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

/// Microseconds for one run of the work, over the time that a run of short transactions takes.
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
