//! SQL on this server's own tables, as text for a separate session whose transactions commit while the caller's
//! is still waiting: this makes requests visible to the workers, and the workers' results visible to the caller.

use super::{NodeId, ShardId};
use crate::error::{Error, Result};
use crate::remote::Record;
use helios_core::migration::{Request, State};
use helios_core::quote::literal;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Submits a request to a migration, if its state allows it and no other request is pending; returns a row on success.
pub fn submit(migration: i64, request: Request) -> String {
    let allowed = State::ALL.into_iter().filter(|state| state.allows(request));
    let allowed: Vec<_> = allowed.map(|state| literal(state.name())).collect();
    format!(
        "UPDATE helios.migration SET request = {}, retry_at = NULL
          WHERE id = {migration} AND request IS NULL AND state IN ({}) RETURNING id",
        literal(request.name()),
        allowed.join(", ")
    )
}

/// The location of a shard, and the state of a migration that maintains a copy of it.
pub struct CopyState {
    /// The primary node; `None` if the shard no longer exists.
    pub node: Option<NodeId>,
    pub state: State,
    /// Why the last step failed.
    pub error: String,
}

impl CopyState {
    /// Queries the state; see [`CopyState::read`].
    pub fn of(migration: i64, shard: ShardId) -> String {
        format!(
            "SELECT (SELECT node FROM helios.shard WHERE id = {}) AS node, state, error
               FROM helios.migration WHERE id = {migration}",
            shard.0
        )
    }

    /// Parses a row of the result.
    pub fn read(row: &Record) -> Result<Self> {
        let state = row.parsed("state")?.ok_or_else(|| {
            Error::new(Code::ERRCODE_DATA_CORRUPTED, "helios.migration holds an unknown state")
        })?;
        Ok(Self { node: row.parsed("node")?.map(NodeId), state, error: row.text("error")? })
    }
}

/// A row of `helios.promotion`: what may have been lost in a promotion.
#[derive(Default)]
pub struct Promotion {
    /// The old primary did not respond.
    pub primary_lost: bool,
    /// The replica has everything committed before this time (microseconds since 2000); None if unknown, or if nothing
    /// was lost.
    pub complete_until: Option<i64>,
    /// WAL of the lost node that was not applied, in bytes, as far as is known.
    pub bytes_behind: Option<i64>,
}

impl Promotion {
    /// Queries the latest promotion of a migration; see [`Promotion::read`].
    pub fn latest(migration: i64) -> String {
        format!(
            "SELECT primary_lost, bytes_behind,
                    (extract(epoch FROM complete_until - '2000-01-01 UTC'::timestamptz) * 1000000)::bigint AS complete_until
               FROM helios.promotion WHERE migration = {migration} ORDER BY id DESC LIMIT 1"
        )
    }

    /// Parses a row of the result.
    pub fn read(row: &Record) -> Result<Self> {
        Ok(Self {
            primary_lost: row.flag("primary_lost")?,
            complete_until: row.parsed("complete_until")?,
            bytes_behind: row.parsed("bytes_behind")?,
        })
    }
}

/// A row of `helios.verification`: the result of comparing the two copies of a table.
pub struct ComparedTable {
    /// The table's qualified name, quoted where needed.
    pub name: String,
    pub source_rows: i64,
    pub target_rows: i64,
    /// Number of rows that differ.
    pub mismatches: i64,
}

impl ComparedTable {
    /// Queries the tables of a migration compared since a time (microseconds since 2000), ordered by name; see
    /// [`ComparedTable::read`].
    pub fn since(migration: i64, time: i64) -> String {
        format!(
            "SELECT format('%I.%I', schema, relation) AS name, source_rows, target_rows, mismatches FROM helios.verification
              WHERE migration = {migration} AND compared >= '2000-01-01'::timestamptz + {time} * interval '1 microsecond'
              ORDER BY 1"
        )
    }

    /// Parses a row of the result.
    pub fn read(row: &Record) -> Result<Self> {
        let number = |column| Ok::<_, Error>(row.parsed(column)?.unwrap_or(0));
        Ok(Self {
            name: row.text("name")?,
            source_rows: number("source_rows")?,
            target_rows: number("target_rows")?,
            mismatches: number("mismatches")?,
        })
    }
}

/// Returns a row if the schema is distributed and not on this server.
pub fn find_moved_out(schema: &str) -> String {
    format!(
        "SELECT FROM helios.schema c JOIN helios.shard s ON s.id = c.shard WHERE c.name = {} AND s.node <> {}",
        literal(schema),
        NodeId::LOCAL.0
    )
}
