//! Moves a tenant to another node and back while clients write to it.

use std::time::Duration;

use anyhow::{Result, bail};
use postgres::Client;

use super::{SHOWN, TENANTS};
use testkit::cluster::LocalCluster;
use testkit::ledger::{self, Ledger, Statement, now};
use testkit::migrations::{self, MigrationStatus};
use testkit::progress::Step;

/// Number of clients that write to the tenant.
const CLIENTS: usize = 4;
/// Pause of each client between two rows.
const PAUSE: Duration = Duration::from_millis(5);
/// How long the clients write between two steps.
const WHILE: Duration = Duration::from_secs(1);

/// Ends migrations left behind by an interrupted run.
pub fn end_former(client: &mut Client) -> Result<()> {
    let tenants: Vec<&str> = TENANTS.to_vec();
    let query = "SELECT id, state = 'dual_write_back' FROM helios_active_migrations() m
                  WHERE EXISTS (SELECT FROM unnest(m.schemas) AS s WHERE s::text = ANY ($1::text[])) AND state <> 'cleanup'";
    for row in client.query(query, &[&tenants])? {
        let id: i64 = row.get(0);
        let way = if row.get(1) { "finish" } else { "cancel" };
        client.execute(&format!("SELECT helios_{way}_migration($1)"), &[&id])?;
        client.execute("SELECT helios_wait_for_migration($1, '60 s')", &[&id])?;
    }
    Ok(())
}

/// Moves the tenant, rolls back, and moves it again; fails if a client saw an error or a write was lost.
pub fn show(cluster: &LocalCluster, client: &mut Client) -> Result<()> {
    let home: String = client.query_one("SELECT helios_node_for_schema($1)", &[&SHOWN])?.get(0);
    let Some(other) = cluster.nodes().iter().find(|node| node.name != home) else { return Ok(()) };
    let other = other.name.as_str();
    println!(
        "\nTenant \"{SHOWN}\" moves to {other} and back while {CLIENTS} clients are writing to it:\n"
    );
    let ledger = Ledger::start(cluster.coordinator(), SHOWN, CLIENTS, PAUSE)?;
    std::thread::sleep(WHILE);
    let first = go_on(
        client,
        &ledger,
        &format!("moving from {home} to {other}"),
        "dual_write_back",
        |client| migrations::begin(client, SHOWN, other),
    )?;
    verify(client)?;
    std::thread::sleep(WHILE);
    go_on(client, &ledger, &format!("rolling back to {home}"), "rolled_back", |client| {
        migrations::roll_back(client, first).map(|()| first)
    })?;
    std::thread::sleep(WHILE);
    let again = go_on(
        client,
        &ledger,
        &format!("moving from {home} to {other}"),
        "dual_write_back",
        |client| migrations::begin(client, SHOWN, other),
    )?;
    std::thread::sleep(WHILE);
    go_on(client, &ledger, "removing the old copy", "finished", |client| {
        migrations::finish(client, again).map(|()| again)
    })?;
    account(client, ledger)
}

/// Starts a step and watches the migration until it reaches the state `until`.
fn go_on(
    client: &mut Client,
    ledger: &Ledger,
    what: &str,
    until: &str,
    begin: impl FnOnce(&mut Client) -> Result<i64>,
) -> Result<i64> {
    let step = Step::start(what);
    ledger.take_longest();
    let before = ledger.acknowledged();
    let id = begin(client)?;
    let mut stall = None;
    migrations::watch(client, id, until, |seen| {
        stall = seen.stall;
        show_progress(&step, seen);
    })?;
    step.done("");
    let fence = match (until, stall) {
        ("finished", _) | (_, None) => String::new(),
        (_, Some(stall)) => format!(", writes fenced for {stall:.0} ms"),
    };
    println!(
        "  {what}: {} writes during this step, the slowest took {:.0} ms{fence}",
        ledger.acknowledged() - before,
        ledger.take_longest().as_secs_f64() * 1e3
    );
    Ok(id)
}

/// Shows a progress bar of the copied rows, and the migration's state.
pub fn show_progress(step: &Step, seen: &MigrationStatus) {
    let rows = [seen.rows.0, seen.rows.1].map(|rows| u64::try_from(rows).unwrap_or(0));
    // The total is an estimate.
    step.progress(&seen.state, rows[0], rows[1].max(rows[0]));
}

fn verify(client: &mut Client) -> Result<()> {
    let query = "SELECT count(*), sum(source_rows)::bigint, sum(mismatches)::bigint FROM helios_verify_schema($1)";
    let row = client.query_one(query, &[&SHOWN])?;
    let (tables, rows, wrong): (i64, Option<i64>, Option<i64>) =
        (row.get(0), row.get(1), row.get(2));
    let (rows, wrong) = (rows.unwrap_or(0), wrong.unwrap_or(0));
    println!("  verified: {tables} tables with {rows} rows on both nodes, {wrong} rows differ");
    if wrong > 0 || rows == 0 {
        bail!("the copies of \"{SHOWN}\" differ in {wrong} of {rows} rows");
    }
    Ok(())
}

/// Prints the account of the writes; fails if any was lost or duplicated, or if a client saw an error.
fn account(client: &mut Client, ledger: Ledger) -> Result<()> {
    let written = ledger.finish()?;
    let account = written.account(client, SHOWN)?;
    let all: &[Statement] = &written.statements;
    let longest =
        ledger::longest(all, Duration::ZERO, now()).map(|found| found.took).unwrap_or_default();
    println!(
        "  {} writes acknowledged: {} lost, {} duplicated, {} client errors; the slowest write took {:.0} ms",
        account.acknowledged,
        account.lost,
        account.repeated,
        written.errors.len(),
        longest.as_secs_f64() * 1e3
    );
    if account.lost + account.repeated + written.errors.len() > 0 {
        let told = written.errors.first().map_or("", String::as_str);
        bail!("the move lost or duplicated writes, or clients saw errors: {account:?} {told}");
    }
    Ok(())
}
