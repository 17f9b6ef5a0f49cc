//! Rows of `helios.migration`: migrations and their requests.

pub use super::migration_progress::*;

use super::tables::MigrationProgressRow;
use super::{NodeId, ShardId, as_owner};
use crate::error::{Error, Result};
use crate::pg::catalog::table::{Column, Table};
use crate::pg::session::sql::{self, Row};
use helios_core::migration::{ENDED, Request, State};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::time::Duration;

/// What a schema becomes by a migration from or to this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Becomes {
    /// A distributed schema.
    Distributed,
    /// A plain schema on this server.
    Plain,
}

impl Becomes {
    /// Its name in the catalog.
    pub fn name(self) -> &'static str {
        match self {
            Self::Distributed => "distributed",
            Self::Plain => "plain",
        }
    }
}

/// A migration's row.
#[derive(Clone, Debug)]
pub struct Migration {
    pub id: i64,
    pub shard: ShardId,
    /// The shard to which the schema belonged before this move.
    pub former_shard: Option<ShardId>,
    /// What the schema becomes when the migration is finished; None if it stays distributed.
    pub becomes: Option<Becomes>,
    pub schemas: Vec<String>,
    pub source: NodeId,
    pub target: NodeId,
    pub state: State,
    pub request: Option<Request>,
    /// The state that follows cleanup.
    pub outcome: Option<State>,
    pub round: i32,
    /// Seconds since both copies were found equal.
    pub verified: Option<f64>,
    /// Seconds since the switch.
    pub switched: Option<f64>,
    pub tries: i32,
    /// It creates and maintains a replica instead of moving.
    pub keeps: bool,
    /// Whether changes are replicated back to the old copy after the switch.
    pub reverse_channel: bool,
    /// Identity of the source and target servers when it started.
    pub histories: Option<Vec<String>>,
}

impl Migration {
    /// The node with the active copy.
    pub fn primary(&self) -> NodeId {
        if self.state.is_before_switch() { self.source } else { self.target }
    }

    /// The node with the other copy.
    pub fn follower(&self) -> NodeId {
        if self.state.is_before_switch() { self.target } else { self.source }
    }
}

fn corrupt(what: &str) -> Error {
    Error::new(Code::ERRCODE_DATA_CORRUPTED, format!("unrecognized {what} in helios.migration"))
}

fn word<T: std::str::FromStr>(row: &Row<'_>, column: &str) -> Result<Option<T>> {
    row.option::<String>(column)?.map(|word| word.parse().map_err(|_| corrupt(column))).transpose()
}

impl Migration {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            id: row.value("id")?,
            shard: ShardId(row.value("shard")?),
            former_shard: row.option("split_from")?.map(ShardId),
            becomes: match row.option::<String>("becomes")?.as_deref() {
                None => None,
                Some("plain") => Some(Becomes::Plain),
                Some(_) => Some(Becomes::Distributed),
            },
            schemas: row.value("schemas")?,
            source: NodeId(row.value("source")?),
            target: NodeId(row.value("target")?),
            state: word(row, "state")?.ok_or_else(|| corrupt("state"))?,
            request: word(row, "request")?,
            outcome: word(row, "outcome")?,
            round: row.value("round")?,
            verified: row.option("verified")?,
            switched: row.option("switched")?,
            tries: row.value("tries")?,
            keeps: row.value("keeps")?,
            reverse_channel: row.value("way_back")?,
            histories: row.option("histories")?,
        })
    }
}

/// The migration with this ID; 42704 if it does not exist.
pub fn load(id: i64) -> Result<Migration> {
    let select = "SELECT id, shard, split_from, becomes, schemas::text[], source, target, state, request, outcome, round, tries,
                         extract(epoch FROM clock_timestamp() - verified)::double precision AS verified,
                         extract(epoch FROM clock_timestamp() - switched)::double precision AS switched,
                         keeps, way_back, histories
                    FROM helios.migration WHERE id = $1";
    let rows = as_owner(|| sql::read_rows(select, &[id.into()], Migration::from_row))?;
    rows.into_iter().next().ok_or_else(|| {
        Error::new(Code::ERRCODE_UNDEFINED_OBJECT, format!("migration {id} does not exist"))
            .hint("The view helios_migrations lists the migrations.")
    })
}

/// A migration to be inserted.
pub struct NewMigration<'a> {
    pub shard: ShardId,
    pub former_shard: Option<ShardId>,
    pub becomes: Option<Becomes>,
    pub schemas: &'a [String],
    pub source: NodeId,
    pub target: NodeId,
    pub keeps: bool,
}

/// Inserts a migration; returns its ID.
pub fn insert(new: &NewMigration<'_>) -> Result<i64> {
    let insert =
        "INSERT INTO helios.migration (shard, schemas, source, target, split_from, becomes, keeps)
                  VALUES ($1, $2::name[], $3, $4, $5, $6, $7) RETURNING id";
    let becomes = new.becomes.map(Becomes::name);
    let (schemas, former_shard) = (new.schemas.to_vec(), new.former_shard.map(|shard| shard.0));
    let (source, target) = (new.source.0, new.target.0);
    let arguments = [
        new.shard.0.into(),
        schemas.into(),
        source.into(),
        target.into(),
        former_shard.into(),
        becomes.into(),
        new.keeps.into(),
    ];
    as_owner(|| sql::one::<i64>(insert, &arguments))?.ok_or_else(|| {
        Error::new(Code::ERRCODE_INTERNAL_ERROR, "could not assign an ID to the migration")
    })
}

/// The migration in progress that moves a shard, as opposed to one that maintains a replica of it.
pub fn of_shard(shard: ShardId) -> Result<Option<i64>> {
    let select = format!(
        "SELECT id FROM helios.migration WHERE shard = $1 AND NOT keeps AND state NOT IN ({ENDED})"
    );
    // The caller may have waited for the transaction that started it, so its statement's snapshot is too old.
    as_owner(|| sql::one(&select, &[shard.0.into()]))
}

/// The migration in progress that moves a shard or maintains a replica of it.
pub fn any_of_shard(shard: ShardId) -> Result<Option<i64>> {
    let select =
        format!("SELECT max(id) FROM helios.migration WHERE shard = $1 AND state NOT IN ({ENDED})");
    // The statement's snapshot is too old, as above.
    as_owner(|| sql::one(&select, &[shard.0.into()]))
}

/// Migrations in progress with this node at one end.
pub fn of_node(node: NodeId) -> Result<Vec<i64>> {
    let select = format!(
        "SELECT id FROM helios.migration WHERE $1 IN (source, target) AND state NOT IN ({ENDED}) ORDER BY id"
    );
    as_owner(|| sql::read_rows(&select, &[node.0.into()], |row| row.value("id")))
}

/// Whether the request is still the one with which the migration was loaded. Blocks other requests until the
/// transaction ends.
pub fn is_request_unchanged(migration: &Migration) -> Result<bool> {
    let select =
        "SELECT request IS NOT DISTINCT FROM $2 FROM helios.migration WHERE id = $1 FOR UPDATE";
    let request = migration.request.map(Request::name);
    Ok(sql::one::<bool>(select, &[migration.id.into(), request.into()])? == Some(true))
}

/// A migration's progress, read independently of the caller's snapshot.
pub struct Progress {
    pub state: State,
    /// Whether a request is pending.
    pub has_request: bool,
    pub rows_done: i64,
    pub rows_total: i64,
    pub error: Option<String>,
}

/// The progress of a migration; None if it does not exist.
pub fn progress_of(id: i64) -> Result<Option<Progress>> {
    const ID: Column<MigrationProgressRow, i64> = Column::named("id");
    let Some(table) = Table::find_by_index("migration_pkey") else { return Ok(None) };
    let Some(row) = table.first(&[ID.equals(id)])? else { return Ok(None) };
    Ok(Some(Progress {
        state: row.state.parse().map_err(|_| corrupt("state"))?,
        has_request: row.request.is_some(),
        rows_done: row.rows_done,
        rows_total: row.rows_total,
        error: row.error,
    }))
}

/// A migration that needs a worker.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    pub id: i64,
    pub source: NodeId,
    pub target: NodeId,
    /// Whether it is copying rows or about to, so that its nodes are occupied. One that waits for a node, or only has
    /// to clean up, does not keep others from moving.
    pub busy: bool,
    /// Time until it may be retried.
    pub pause: Duration,
}

/// Migrations that have not ended, in the order in which they are served.
pub fn waiting() -> Result<Vec<Waiting>> {
    let select = format!(
        "SELECT id, source, target,
                state NOT IN ('in_step', 'dual_write_back', 'cleanup') AND coalesce(retry_at <= clock_timestamp(), true) AS busy,
                greatest(extract(epoch FROM retry_at - clock_timestamp()), 0)::double precision AS pause
           FROM helios.migration WHERE state NOT IN ({ENDED}) ORDER BY state = 'planned', id"
    );
    let read = |row: &Row<'_>| {
        let pause: f64 = row.option("pause")?.unwrap_or(0.0);
        Ok(Waiting {
            id: row.value("id")?,
            source: NodeId(row.value("source")?),
            target: NodeId(row.value("target")?),
            busy: row.value("busy")?,
            pause: Duration::try_from_secs_f64(pause).unwrap_or_default(),
        })
    };
    as_owner(|| sql::read_rows(&select, &[], read))
}

/// The migration in progress that has a second copy of a schema, preferably one that is in sync.
pub fn with_second_copy(schema: &str) -> Result<Option<i64>> {
    let select = format!(
        "SELECT id FROM helios.migration WHERE $1::name = ANY (schemas) AND state NOT IN ({ENDED})
          ORDER BY state = 'in_step' DESC, id LIMIT 1"
    );
    as_owner(|| sql::read_one(&select, &[schema.into()]))
}

/// Locks the row of a migration's shard until the transaction ends, either exclusively or in share mode.
pub fn lock_shard_row(shard: ShardId, exclusively: bool) -> Result<()> {
    let lock = match exclusively {
        true => "SELECT id FROM helios.shard WHERE id = $1 FOR UPDATE",
        false => "SELECT id FROM helios.shard WHERE id = $1 FOR SHARE",
    };
    as_owner(|| sql::one::<i64>(lock, &[shard.0.into()]).map(drop))
}
