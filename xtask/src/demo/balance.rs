//! Adds a node and moves tenants onto it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use postgres::Client;

use testkit::cluster::LocalCluster;
use testkit::migrations;
use testkit::progress::Step;

/// Maximum time to wait until a node is empty.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Removes the nodes added by earlier runs, so that this run can add one again.
pub fn remove_added(cluster: &mut LocalCluster, client: &mut Client) -> Result<()> {
    while let Some(node) = cluster.added().last() {
        let step = Step::start(format!("removing {}, added by an earlier run", node.name));
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
            left if Instant::now() > until => {
                bail!("timed out while draining {node}: {left} schemas and migrations are left")
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Adds a node and rebalances the tenants; returns the enlarged cluster.
pub fn show(cluster: &LocalCluster, client: &mut Client) -> Result<LocalCluster> {
    println!("\nAdding a node, and the plan to rebalance onto it:\n");
    let step = Step::start("adding a node");
    let cluster = cluster.add_node()?;
    step.done(&cluster.servers[cluster.servers.len() - 1].name);
    // The demo has few tenants: a tenth of the bytes would be less than one tenant.
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
    step.done(&format!("{} shards moved", ids.len()));
    let row = client.query_one("SELECT verdict, fullest_after FROM helios_balance()", &[])?;
    let (verdict, fullest): (String, f64) = (row.get(0), row.get(1));
    println!(
        "\n  Balance after the moves: {verdict}; the fullest node holds {fullest:.2} times its fair share"
    );
    Ok(cluster)
}

/// Watches concurrent moves and finishes each one after its switch.
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
                    bail!(
                        "migration {id} ended in state {}: {}",
                        seen.state,
                        seen.error.unwrap_or_default()
                    );
                }
                open.retain(|other| other != id);
            }
        }
        let over = ids.len() - open.len();
        step.progress(&format!("moves finished: {over} of {}", ids.len()), done, all);
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
