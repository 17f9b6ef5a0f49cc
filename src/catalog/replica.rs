//! Rows of `helios.replica` and `helios.promotion`, and rows of `helios.migration` and `helios.cleanup` that concern
//! replicas.

use super::migration::Migration;
use super::{NodeId, ShardId, as_owner};
use crate::error::Result;
use crate::pg::session::sql;
use helios_core::migration::ENDED;

/// IDs of the migrations that maintain or create replicas of a shard, oldest first, without those about to be removed.
pub fn of_shard(shard: ShardId) -> Result<Vec<i64>> {
    let select = format!(
        "SELECT id FROM helios.migration WHERE shard = $1 AND keeps AND state NOT IN ('cleanup', {ENDED}) ORDER BY id"
    );
    as_owner(|| sql::rows(&select, &[shard.0.into()], |row| row.value("id")))
}

/// IDs of the migrations whose replicas are in sync.
pub fn in_step() -> Result<Vec<i64>> {
    let select = "SELECT migration FROM helios.replica ORDER BY migration";
    sql::rows(select, &[], |row| row.value("migration"))
}

/// Whether there is a replica to be monitored or created.
pub fn any() -> Result<bool> {
    let select = "SELECT EXISTS (SELECT FROM helios.replica) OR EXISTS (SELECT FROM helios.shard WHERE replicas > 1)";
    Ok(as_owner(|| sql::read_one::<bool>(select, &[]))?.unwrap_or(false))
}

/// Shards with a replica on a node, and shards on the node that have replicas, as a list for messages; `None` if empty.
pub fn shards_at(node: NodeId) -> Result<Option<String>> {
    let select = format!(
        "SELECT string_agg(DISTINCT shard::text, ', ') FROM helios.migration
          WHERE keeps AND $1 IN (source, target) AND state NOT IN ({ENDED})"
    );
    as_owner(|| sql::read_one::<String>(&select, &[node.0.into()]))
}

/// Number of replicas that a node has or is about to have.
pub fn count_on(node: NodeId) -> Result<i64> {
    let select = format!(
        "SELECT count(*) FROM helios.migration WHERE keeps AND target = $1 AND state NOT IN ('cleanup', {ENDED})"
    );
    Ok(as_owner(|| sql::one::<i64>(&select, &[node.0.into()]))?.unwrap_or(0))
}

/// Whether a node still has schemas of a shard that are to be removed.
pub fn has_remains(shard: ShardId, node: NodeId) -> Result<bool> {
    let select = "SELECT EXISTS (SELECT FROM helios.cleanup c JOIN helios.migration m ON m.id = c.migration
                                  WHERE m.shard = $1 AND c.node = $2 AND c.kind IN ('schema', 'former'))";
    Ok(as_owner(|| sql::one::<bool>(select, &[shard.0.into(), node.0.into()]))? == Some(true))
}

/// A shard that does not have the intended number of copies.
pub struct CopyDeficit {
    pub shard: ShardId,
    pub node: NodeId,
    /// Intended number of copies, including the primary.
    pub replicas: i32,
}

/// Shards with missing or surplus copies, locked until the transaction ends. A shard whose replica has failed is
/// skipped for `pause` seconds.
pub fn copy_deficits(pause: f64) -> Result<Vec<CopyDeficit>> {
    let select = format!(
        "SELECT s.id, s.node, s.replicas FROM helios.shard s
          WHERE s.replicas > 1 AND s.node <> 0 AND EXISTS (SELECT FROM helios.schema c WHERE c.shard = s.id)
            AND (SELECT count(*) FROM helios.migration m WHERE m.shard = s.id AND m.keeps
                    AND m.state NOT IN ('cleanup', {ENDED})) <> s.replicas - 1
            AND NOT EXISTS (SELECT FROM helios.migration m WHERE m.shard = s.id AND
                    (NOT m.keeps AND m.state NOT IN ({ENDED})
                     OR m.keeps AND (m.state = 'switch' OR m.request IS NOT NULL)
                     OR m.keeps AND m.outcome = 'failed'
                        AND coalesce(m.ended, clock_timestamp()) > clock_timestamp() - make_interval(secs => $1)))
            FOR UPDATE OF s SKIP LOCKED"
    );
    let read = |row: &sql::Row<'_>| {
        let (shard, node) = (ShardId(row.value("id")?), NodeId(row.value("node")?));
        Ok(CopyDeficit { shard, node, replicas: row.value("replicas")? })
    };
    as_owner(|| sql::rows(&select, &[pause.into()], read))
}

/// Registers the replica: it follows the primary through these slots.
pub fn insert(migration: &Migration, slots: Vec<String>) -> Result<()> {
    let insert = "INSERT INTO helios.replica (migration, shard, node, slots)
                  SELECT id, shard, $3, $4 FROM helios.migration WHERE id = $1 AND state = $2 AND keeps FOR UPDATE
                  ON CONFLICT DO NOTHING";
    let (state, node) = (migration.state.name(), migration.follower().0);
    sql::run(insert, &[migration.id.into(), state.into(), node.into(), slots.into()])
}

/// Hands the replica identities of tables on the primary over to another replica of the shard, if there is one.
pub fn hand_over_identities(migration: &Migration) -> Result<()> {
    let sibling = format!(
        "SELECT min(id) FROM helios.migration WHERE shard = $1 AND keeps AND id <> $2 AND state NOT IN ('cleanup', {ENDED})"
    );
    let arguments = [migration.shard.0.into(), migration.id.into()];
    let Some(sibling) = sql::one::<i64>(&sibling, &arguments)? else { return Ok(()) };
    let hand_over =
        "WITH gone AS (DELETE FROM helios.cleanup c USING helios.shard s
                        WHERE c.migration = $1 AND c.kind = 'identity' AND s.id = $3 AND c.node = s.node
                       RETURNING c.node, c.kind, c.name)
         INSERT INTO helios.cleanup (migration, node, kind, name) SELECT $2, node, kind, name FROM gone
         ON CONFLICT DO NOTHING";
    sql::run(hand_over, &[migration.id.into(), sibling.into(), migration.shard.0.into()])
}

/// Tables that use REPLICA IDENTITY FULL for another replica also do so for this one, which must restore it, too.
pub fn share_identities(migration: &Migration) -> Result<()> {
    let insert = "INSERT INTO helios.cleanup (migration, node, kind, name)
                  SELECT DISTINCT $1, $2, c.kind, c.name FROM helios.cleanup c JOIN helios.migration m ON m.id = c.migration
                   WHERE m.shard = $3 AND m.keeps AND m.id <> $1 AND c.kind = 'identity'
                  ON CONFLICT DO NOTHING";
    let arguments = [migration.id.into(), migration.target.0.into(), migration.shard.0.into()];
    sql::run(insert, &arguments)
}

/// Possible loss of a promotion without its primary.
pub struct Loss {
    /// Everything committed before this time has been applied (microseconds since 2000).
    pub complete_until: Option<i64>,
    /// WAL of the lost node that was not applied, in bytes, as far as known.
    pub bytes: Option<i64>,
}

/// Called in the transaction that promotes a replica: other replicas follow a node that is not the primary anymore, so
/// they are removed and created again.
pub fn promoted(migration: &Migration, loss: Option<&Loss>) -> Result<()> {
    sql::run("DELETE FROM helios.replica WHERE shard = $1", &[migration.shard.0.into()])?;
    let others = format!(
        "UPDATE helios.migration SET retry_at = NULL,
                request = CASE state WHEN 'dual_write_back' THEN 'finish' ELSE 'cancel' END
          WHERE shard = $1 AND keeps AND id <> $2 AND state NOT IN ('cleanup', {ENDED})"
    );
    sql::run(&others, &[migration.shard.0.into(), migration.id.into()])?;
    let insert = "INSERT INTO helios.promotion (migration, shard, source, target, primary_lost, complete_until, bytes_behind)
                  VALUES ($1, $2, $3, $4, $5, '2000-01-01 UTC'::timestamptz + $6 * interval '1 microsecond', $7)";
    let (from, to) = (migration.primary().0, migration.follower().0);
    let (until, bytes) = loss.map_or((None, Some(0)), |loss| (loss.complete_until, loss.bytes));
    let values = [
        migration.id.into(),
        migration.shard.0.into(),
        from.into(),
        to.into(),
        loss.is_some().into(),
        until.into(),
        bytes.into(),
    ];
    sql::run(insert, &values)
}
