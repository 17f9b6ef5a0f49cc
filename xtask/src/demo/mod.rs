//! The demo: loads twelve tenants of a web shop into a cluster, runs queries, moves a tenant while it is in use,
//! and adds a node.
//!
//! It can be run repeatedly: it first recreates its tenants and removes the node it added. Everything else in the
//! cluster is left alone.

mod balance;
mod data;
mod moving;

use std::io::Write;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use postgres::Client;

use testkit::cluster::{DATABASE, LocalCluster};
use testkit::command;
use testkit::progress::Step;

/// Schemas of the tenants.
const TENANTS: [&str; 12] = [
    "acorn", "birch", "cedar", "dogwood", "elm", "fir", "ginkgo", "hazel", "ironwood", "juniper",
    "larch", "maple",
];

const SIZE: data::Size = data::Size { users: 1_000, orders: 5_000, events: 20_000 };

const SCHEMA: &str = include_str!("../../demo/schema.sql");
const QUERIES: &str = include_str!("../../demo/queries.sql");

/// The tenant whose queries are shown.
const SHOWN: &str = "elm";

/// Loads the tenants into a running cluster, runs queries, shows placements, moves a tenant, adds a node.
pub fn run(mut cluster: LocalCluster) -> Result<()> {
    let mut client = cluster.coordinator().connect(DATABASE)?;
    moving::end_former(&mut client)?;
    drop_tenants(&mut client)?;
    balance::remove_added(&mut cluster, &mut client)?;
    create(&mut client)?;
    load(&mut client)?;
    println!("\nNode of each tenant, and its rows on that node:\n");
    show_places(&cluster, &mut client)?;
    println!("\nQueries of tenant \"{SHOWN}\", sent to the coordinator:\n");
    show_queries(&cluster)?;
    moving::show(&cluster, &mut client)?;
    let cluster = balance::show(&cluster, &mut client)?;
    println!("\nNode of each tenant now:\n");
    show_places(&cluster, &mut client)?;
    show_ways(&cluster);
    Ok(())
}

fn drop_tenants(client: &mut Client) -> Result<()> {
    for tenant in TENANTS {
        client
            .batch_execute(&format!("DROP SCHEMA IF EXISTS {tenant} CASCADE"))
            .with_context(|| format!("cannot drop tenant {tenant}"))?;
    }
    Ok(())
}

fn create(client: &mut Client) -> Result<()> {
    let step = Step::start(format!("creating {} tenants", TENANTS.len()));
    for tenant in TENANTS {
        step.note(tenant);
        client
            .batch_execute(&format!("CREATE SCHEMA {tenant} DISTRIBUTED"))
            .with_context(|| format!("cannot create tenant {tenant}"))?;
        client
            .batch_execute(&format!("BEGIN; SET LOCAL search_path = {tenant};\n{SCHEMA}\nCOMMIT"))
            .with_context(|| format!("cannot create the tables of tenant {tenant}"))?;
    }
    step.done("tables, views, triggers, functions");
    Ok(())
}

fn load(client: &mut Client) -> Result<()> {
    let step = Step::start("loading data with COPY");
    let started = Instant::now();
    let mut rows = 0;
    for (number, tenant) in TENANTS.into_iter().enumerate() {
        step.note(format!("{tenant} ({rows} rows so far)"));
        client.batch_execute(&format!("SET search_path = {tenant}"))?;
        for load in data::loads(number, SIZE) {
            let mut copy = client
                .copy_in(&format!("COPY {} FROM STDIN", load.target))
                .with_context(|| format!("cannot load {} of {tenant}", load.target))?;
            copy.write_all(load.rows.as_bytes())?;
            let loaded = copy.finish()?;
            if loaded != load.count {
                bail!(
                    "only {loaded} of {} rows were loaded into {} of {tenant}",
                    load.count,
                    load.target
                );
            }
            rows += loaded;
        }
    }
    client.batch_execute("RESET search_path")?;
    let rate = rows as f64 / started.elapsed().as_secs_f64();
    step.done(&format!("{rows} rows, {rate:.0} rows/s"));
    Ok(())
}

/// Asks the coordinator for each tenant's node, and counts the rows directly on that node.
fn show_places(cluster: &LocalCluster, client: &mut Client) -> Result<()> {
    println!(
        "  {:<10} {:<12} {:>7} {:>7} {:>7} {:>7}",
        "tenant", "node", "users", "orders", "items", "events"
    );
    for tenant in TENANTS {
        let row = client.query_one("SELECT helios_node_for_schema($1)", &[&tenant])?;
        let name: String =
            row.try_get(0).with_context(|| format!("tenant {tenant} is not distributed"))?;
        let node = cluster
            .servers
            .iter()
            .find(|server| server.name == name)
            .with_context(|| format!("tenant {tenant} is on unknown node {name}"))?;
        let mut direct = node.connect(DATABASE)?;
        let mut counts = String::new();
        for table in ["users", "orders", "items", "events"] {
            let query = format!("SELECT count(*) FROM {tenant}.{table}");
            let count: i64 = direct.query_one(&query, &[])?.get(0);
            counts.push_str(&format!(" {count:>7}"));
        }
        println!("  {tenant:<10} {name:<12}{counts}");
    }
    Ok(())
}

fn show_queries(cluster: &LocalCluster) -> Result<()> {
    let mut psql = cluster.coordinator().client("psql", DATABASE)?;
    psql.env("PGOPTIONS", format!("-c search_path={SHOWN}"));
    psql.args(["--no-psqlrc", "--quiet", "--echo-queries", "--pset=pager=off"]);
    psql.args(["--set=ON_ERROR_STOP=1", "--file=-"]);
    print!("{}", command::output_of_input(&mut psql, QUERIES.as_bytes())?);
    Ok(())
}

fn show_ways(cluster: &LocalCluster) {
    let url = cluster.url();
    let dir = cluster.dir.display();
    println!("\nConnect:          psql {url}");
    println!("Use a tenant:     SET search_path = {SHOWN}; SELECT * FROM best_customers LIMIT 5;");
    println!("Create a tenant:  CREATE SCHEMA my_shop DISTRIBUTED;");
    println!("List the nodes:   SELECT * FROM helios_nodes;");
    println!("Move a tenant:    SELECT helios_migrate_schema('{SHOWN}', 'node-1');");
    println!("Watch the move:   SELECT * FROM helios_migrations;");
    println!("Server status:    cargo xtask cluster status");
    println!("Stop the cluster: cargo xtask cluster stop --dir {dir}");
}
