//! What the catalog knows of the replicas of a shard, for the migrations that make and keep them: rows of `helios.replica`
//! and `helios.promotion`, and the clean-up rows that replicas of one shard share.
//!
//! Invariant: a row of `helios.replica` exists only while its replica is complete and follows the copy in use. The row is
//! deleted first; then [`leave`] waits for the transactions that may have read it; only then is anything removed.

use crate::catalog::migration::{self, Migration};
use crate::catalog::{self, ShardId};
use crate::error::{Error, Result};
use crate::pg::session::sql;
use helios_core::migration::{Request, State};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::time::Duration;

/// For how long statements may wait behind a copy that waits for those that read it.
const LEAVE: Duration = Duration::from_millis(100);

/// Copies of a shard that are there or being made, the oldest first; those about to be removed are not counted.
pub fn of_shard(shard: ShardId) -> Result<Vec<Migration>> {
    let select = "SELECT id FROM helios.migration WHERE shard = $1 AND keeps
                     AND state NOT IN ('cleanup', 'finished', 'rolled_back', 'cancelled', 'failed') ORDER BY id";
    let number = |row: &sql::Row<'_>| Ok(row.get::<i64>(1)?.unwrap_or(0));
    let ids = catalog::as_owner(|| sql::rows(select, &[shard.0.into()], number))?;
    let all = ids.into_iter().map(migration::load).collect::<Result<Vec<_>>>()?;
    let stays = |one: &Migration| !matches!(one.request, Some(Request::Cancel | Request::Finish));
    Ok(all.into_iter().filter(stays).collect())
}

/// 55000 for a shard that has copies, or is to have some.
pub fn refuse_copies(shard: ShardId, shown: &str) -> Result<()> {
    let copies = of_shard(shard)?;
    let wanted = catalog::shard(shard)?.replicas > 1;
    if copies.is_empty() && !wanted {
        return Ok(());
    }
    let nodes = copies.iter().map(|copy| Ok(catalog::node(copy.follower())?.name.clone()));
    let nodes: Vec<String> = nodes.collect::<Result<_>>()?;
    Err(Error::new(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("{shown} has copies on other nodes"),
    )
    .detail(format!("Nodes with a copy: {}.", nodes.join(", ")))
    .hint("helios_promote_replica() makes one of them the one in use; helios_set_replicas(…, 1) removes them."))
}

/// Asks something of a migration.
pub fn submit_for_replica(id: i64, request: Request) -> Result<()> {
    let update = "UPDATE helios.migration SET wish = $2, retry_at = NULL WHERE id = $1";
    sql::run(update, &[id.into(), request.name().into()])
}

/// From now on the copy counts: it follows the node in use by these slots.
pub fn enter(migration: &Migration, slots: Vec<String>) -> Result<()> {
    let insert = "INSERT INTO helios.replica (migration, shard, node, slots)
                  SELECT id, shard, $3, $4 FROM helios.migration WHERE id = $1 AND state = $2 AND keeps FOR UPDATE
                  ON CONFLICT DO NOTHING";
    let (state, node) = (migration.state.name(), migration.follower().0);
    sql::run(insert, &[migration.id.into(), state.into(), node.into(), slots.into()])
}

/// Waits for those who may still read a copy that does not count any more, and leaves the other copies of the shard what
/// they need on the node in use.
///
/// 55P03 while somebody does.
pub fn leave(migration: &Migration) -> Result<()> {
    if !catalog::lock_shards_within(&[migration.shard], LEAVE)? {
        return Err(Error::new(Code::ERRCODE_LOCK_NOT_AVAILABLE, "transactions use the schemas"));
    }
    let sibling = "SELECT min(id) FROM helios.migration WHERE shard = $1 AND keeps AND id <> $2
                      AND state NOT IN ('cleanup', 'finished', 'rolled_back', 'cancelled', 'failed')";
    let arguments = [migration.shard.0.into(), migration.id.into()];
    let Some(sibling) = sql::one::<i64>(sibling, &arguments)? else { return Ok(()) };
    let hand_over =
        "WITH gone AS (DELETE FROM helios.cleanup c USING helios.shard s
                        WHERE c.migration = $1 AND c.kind = 'identity' AND s.id = $3 AND c.node = s.node
                       RETURNING c.node, c.kind, c.name)
         INSERT INTO helios.cleanup (migration, node, kind, name) SELECT $2, node, kind, name FROM gone
         ON CONFLICT DO NOTHING";
    sql::run(hand_over, &[migration.id.into(), sibling.into(), migration.shard.0.into()])
}

/// Tables that log whole rows for another copy do so on this one too, as its definition says: it takes that back as well.
pub fn share_identities(migration: &Migration) -> Result<()> {
    let insert = "INSERT INTO helios.cleanup (migration, node, kind, name)
                  SELECT DISTINCT $1, $2, c.kind, c.name FROM helios.cleanup c JOIN helios.migration m ON m.id = c.migration
                   WHERE m.shard = $3 AND m.keeps AND m.id <> $1 AND c.kind = 'identity'
                  ON CONFLICT DO NOTHING";
    let arguments = [migration.id.into(), migration.target.0.into(), migration.shard.0.into()];
    sql::run(insert, &arguments)
}

/// What a promotion without its primary may have lost.
pub struct Loss {
    /// Everything that was committed before is there (microseconds since 2000).
    pub complete_until: Option<i64>,
    /// Log of the lost node, as far as known, that was not applied.
    pub bytes: Option<i64>,
}

/// In the transaction that makes a copy the one in use: the other copies follow a node that is not in use any more.
/// They go; new ones are made.
pub fn promoted(migration: &Migration, loss: Option<&Loss>) -> Result<()> {
    sql::run("DELETE FROM helios.replica WHERE shard = $1", &[migration.shard.0.into()])?;
    let others = "UPDATE helios.migration SET retry_at = NULL,
                         wish = CASE state WHEN 'dual_write_back' THEN 'finish' ELSE 'cancel' END
                   WHERE shard = $1 AND keeps AND id <> $2
                     AND state NOT IN ('cleanup', 'finished', 'rolled_back', 'cancelled', 'failed')";
    sql::run(others, &[migration.shard.0.into(), migration.id.into()])?;
    let insert = "INSERT INTO helios.promotion (migration, shard, source, target, primary_lost, complete_until, bytes_behind)
                  VALUES ($1, $2, $3, $4, $5, '2000-01-01 UTC'::timestamptz + $6 * interval '1 microsecond', $7)";
    let (from, to) = (migration.primary().0, migration.follower().0);
    let (until, bytes) = loss.map_or((None, Some(0)), |loss| (loss.complete_until, loss.bytes));
    sql::run(
        insert,
        &[
            migration.id.into(),
            migration.shard.0.into(),
            from.into(),
            to.into(),
            loss.is_some().into(),
            until.into(),
            bytes.into(),
        ],
    )
}

/// A copy that cannot follow any more: it goes, and the reason is kept.
pub fn give_up(migration: &Migration, reason: &str) -> Result<()> {
    let outcome = match migration.state.is_before_switch() {
        true => State::Failed,
        false => State::Finished,
    };
    migration::end(migration.id, outcome, Some(reason))
}
