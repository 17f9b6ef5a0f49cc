//! One more node, and tenants that move onto it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use postgres::Client;

use testkit::cluster::LocalCluster;
use testkit::migrations;
use testkit::progress::Step;

/// The bound of waiting for a node to be empty.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Takes out the nodes that an earlier run has added, so that this one can add one again.
pub fn remove_added(cluster: &mut LocalCluster, client: &mut Client) -> Result<()> {
    while let Some(node) = cluster.added().last() {
        let step = Step::start(format!("taking out {} of an earlier run", node.name));
        client.query("SELECT helios_drain_node($1)", &[&node.name])?;
        wait_until_empty(client, &node.name)?;
        cluster.remove_added_node()?;
        step.done("");
    }
    Ok(())
}

fn wait_until_empty(client: &mut Client, node: &str) -> Result<()> {
    let until = Instant::now() + TIMEOUT;
    let waiting = "SELECT id FROM helios_active_migrations() WHERE (source = $1 OR target = $1) AND state = 'dual_write_back'";
    let left = "SELECT (SELECT count(*) FROM helios_schemas WHERE node = $1)
                     + (SELECT count(*) FROM helios_active_migrations() WHERE source = $1 OR target = $1)";
    loop {
        for row in client.query(waiting, &[&node])? {
            migrations::finish(client, row.get(0))?;
        }
        match client.query_one(left, &[&node])?.get::<_, i64>(0) {
            0 => return Ok(()),
            left if Instant::now() > until => bail!("{left} schemas and moves are left on {node}"),
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Adds a node and lets the cluster spread its tenants; the cluster with it.
pub fn show(cluster: &LocalCluster, client: &mut Client) -> Result<LocalCluster> {
    println!("\nOne more node, and the plan that fills it:\n");
    let step = Step::start("adding a node");
    let cluster = cluster.add_node()?;
    step.done(&cluster.servers[cluster.servers.len() - 1].name);
    // A demo's tenants are few: a tenth of the bytes is less than one of them.
    client.batch_execute("SET helios.max_movement = 0.5")?;
    let plan = "SELECT step, shard, source, target, schemas, bytes FROM helios_rebalance_plan()";
    println!(
        "  {:>4}  {:>6}  {:<10} {:<10} {:>7} {:>9}",
        "step", "shard", "from", "to", "schemas", "MB"
    );
    for row in client.query(plan, &[])? {
        let (step, shard, from, to): (i32, i64, &str, &str) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let (schemas, megabytes) = (row.get::<_, i64>(4), row.get::<_, i64>(5) as f64 / 1048576.0);
        println!("  {step:>4}  {shard:>6}  {from:<10} {to:<10} {schemas:>7} {megabytes:>9.1}");
    }
    let step = Step::start("rebalancing");
    let rows = client.query("SELECT helios_rebalance()", &[])?;
    let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    finish_all(client, &step, &ids)?;
    step.done(&format!("{} moves", ids.len()));
    let row = client.query_one("SELECT verdict, fullest_after FROM helios_balance()", &[])?;
    let (verdict, fullest): (String, f64) = (row.get(0), row.get(1));
    println!(
        "\n  now the balance is: {verdict}; the fullest node has {fullest:.2} of its fair share"
    );
    Ok(cluster)
}

/// Watches moves that go on at the same time; each is finished when it has switched.
fn finish_all(client: &mut Client, step: &Step, ids: &[i64]) -> Result<()> {
    let mut open = ids.to_vec();
    while !open.is_empty() {
        let (mut done, mut all) = (0, 0);
        for id in ids {
            let seen = migrations::status(client, *id)?;
            done += u64::try_from(seen.rows.0).unwrap_or(0);
            all += u64::try_from(seen.rows.1.max(seen.rows.0)).unwrap_or(0);
            if seen.is_settled("dual_write_back") {
                migrations::finish(client, *id)?;
            }
            if seen.has_ended() {
                if seen.state != "finished" {
                    bail!("migration {id} is {}: {}", seen.state, seen.error.unwrap_or_default());
                }
                open.retain(|other| other != id);
            }
        }
        let over = ids.len() - open.len();
        step.progress(&format!("rows; {over} of {} moves are over", ids.len()), done, all);
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
