//! Drives migrations like a client: starts, watches, rolls back, finishes.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use postgres::Client;

use crate::ledger::now;

/// Polling interval.
const LOOK: Duration = Duration::from_millis(50);

/// Status of a migration at one moment.
#[derive(Debug, Clone)]
pub struct MigrationStatus {
    /// The migration's state.
    pub state: String,
    /// Rows copied, and the estimated total.
    pub rows: (i64, i64),
    /// Bytes of the publisher's WAL that the other copy has not confirmed.
    pub lag: Option<i64>,
    /// The longest time, in milliseconds, that a fence was held.
    pub stall: Option<f64>,
    /// What the migration waits for, or the error it failed with.
    pub error: Option<String>,
    has_request: bool,
}

impl MigrationStatus {
    /// Whether it is in this state with no request pending.
    pub fn is_settled(&self, state: &str) -> bool {
        self.state == state && !self.has_request
    }

    /// Whether it has reached a final state.
    pub fn has_ended(&self) -> bool {
        matches!(self.state.as_str(), "finished" | "rolled_back" | "cancelled" | "failed")
    }
}

/// When a migration was first seen in each state.
pub type History = Vec<(String, Duration)>;

/// Starts moving a schema.
pub fn begin(client: &mut Client, schema: &str, node: &str) -> Result<i64> {
    let row = client
        .query_one("SELECT helios_migrate_schema($1, $2)", &[&schema, &node])
        .with_context(|| format!("cannot move schema {schema} to {node}"))?;
    Ok(row.get(0))
}

/// Rolls back after the switch.
pub fn roll_back(client: &mut Client, id: i64) -> Result<()> {
    client.execute("SELECT helios_rollback_migration($1)", &[&id])?;
    Ok(())
}

/// Ends the rollback window.
pub fn finish(client: &mut Client, id: i64) -> Result<()> {
    client.execute("SELECT helios_finish_migration($1)", &[&id])?;
    Ok(())
}

/// Reads the status of a migration.
pub fn status(client: &mut Client, id: i64) -> Result<MigrationStatus> {
    let query =
        "SELECT v.state, v.rows_done, v.rows_total, v.lag, v.stall, v.error, m.request IS NOT NULL
                   FROM helios_migrations v JOIN helios.migration m USING (id) WHERE id = $1";
    let row = client.query_one(query, &[&id]).with_context(|| format!("migration {id}"))?;
    Ok(MigrationStatus {
        state: row.get(0),
        rows: (row.get(1), row.get(2)),
        lag: row.get(3),
        stall: row.get(4),
        error: row.get(5),
        has_request: row.get(6),
    })
}

/// Watches a migration until it is in this state with no request pending; it is an error if it ends in another state.
pub fn watch(
    client: &mut Client,
    id: i64,
    until: &str,
    mut report: impl FnMut(&MigrationStatus),
) -> Result<History> {
    let mut history = History::new();
    loop {
        let status = status(client, id)?;
        if history.last().is_none_or(|(state, _)| *state != status.state) {
            history.push((status.state.clone(), now()));
        }
        report(&status);
        if status.is_settled(until) {
            return Ok(history);
        }
        if status.has_ended() {
            let why = status.error.unwrap_or_default();
            bail!("migration {id} ended in state {} instead of {until}: {why}", status.state);
        }
        std::thread::sleep(LOOK);
    }
}
