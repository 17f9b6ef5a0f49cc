//! A replica takes over from a node that does not respond.

use crate::catalog::migration::{self, Migration};
use crate::catalog::replica::{Loss, promoted};
use crate::catalog::{self, NodeId, remote_sql};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::migration::cleanup;
use crate::migration::definition;
use crate::migration::direction::{self, Direction};
use crate::migration::primary;
use crate::pg::ipc::worker;
use crate::remote::Session;
use crate::replication::channel::{self, Channel};
use crate::replication::endpoint::Endpoint;
use crate::replication::endpoints::{literal, names};
use crate::shared::replica_states;
use helios_core::migration::State;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::time::{Duration, Instant};

/// Received changes count as applied when nothing has changed for this long.
const QUIET: Duration = Duration::from_millis(500);
/// Maximum time to wait for that.
const MOST: Duration = Duration::from_secs(30);
/// Maximum advance of sequences beyond their last known position, for values that the lost node has generated since.
const MARGIN: i64 = 100_000;
/// Timeout for statements that still hold the shard's lock, per attempt.
const LOCKS: Duration = Duration::from_secs(2);

/// Makes the replica the active copy without its primary. Leftovers on the primary's node are recorded for cleanup.
pub fn take_over(migration: &Migration) -> Result<()> {
    let (from, to) = (migration.primary(), migration.follower());
    let direction =
        if migration.state.is_before_switch() { Direction::Forward } else { Direction::Back };
    let channels = direction::channels(migration, direction)?;
    let mut copy = worker::attempt(|| Endpoint::of(to).session())?;
    check_follows(migration)?;
    let applied = drain(&channels, &mut copy)?;
    let loss = loss(migration, &channels, &mut copy, applied)?;
    failpoint::hit(failpoint::MIGRATION_SWITCH_BEFORE)?;
    // From here on the replica follows nobody: otherwise the lost node would continue writing to it when it is back.
    for channel in &channels {
        channel::drop_subscription(&mut copy, &channel.name)?;
    }
    failpoint::hit(failpoint::MIGRATION_FENCE_AFTER)?;
    let enable = worker::attempt(|| {
        let mut shells = Endpoint::Local.session()?;
        let mut changes = definition::trigger_changes(&mut shells, &migration.schemas)?;
        changes.enable.append(&mut changes.force_row_security);
        Ok(changes.enable)
    })?;
    worker::attempt(|| flip(migration, from, to, &enable, &loss))?;
    failpoint::hit(failpoint::MIGRATION_SWITCH_AFTER)
}

/// A replica that was disconnected by an earlier attempt is still valid; one that was never in sync is not.
fn check_follows(migration: &Migration) -> Result<()> {
    let known = worker::attempt(|| catalog::replicas(migration.shard))?;
    if known.iter().any(|replica| replica.migration == migration.id) {
        return Ok(());
    }
    Err(Error::new(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("the replica maintained by migration {} is not in sync", migration.id),
    ))
}

/// Waits until received changes are applied; returns the position in the lost node's WAL.
fn drain(channels: &[Channel], copy: &mut Session) -> Result<Option<String>> {
    let slots: Vec<_> = channels.iter().map(|channel| literal(&channel.name)).collect();
    let ask = format!(
        "SELECT min(pg_replication_origin_progress('pg_' || s.oid, false)) - '0/0'::pg_lsn AS place,
                string_agg(pg_replication_origin_progress('pg_' || s.oid, false)::text, ' ' ORDER BY s.oid) AS each
           FROM pg_subscription s WHERE subname IN ({})",
        slots.join(", ")
    );
    let until = Instant::now() + MOST;
    let (mut last, mut since) = (None, Instant::now());
    loop {
        let rows = copy.query(&ask)?;
        let now = match rows.first() {
            Some(row) => (row.option("place")?.map(str::to_owned), row.text("each")?),
            None => Default::default(),
        };
        if last.as_ref() != Some(&now) {
            (last, since) = (Some(now), Instant::now());
        } else if since.elapsed() >= QUIET || Instant::now() >= until {
            return Ok(last.and_then(|(place, _)| place));
        }
        worker::sleep(Duration::from_millis(50));
    }
}

fn loss(
    migration: &Migration,
    channels: &[Channel],
    copy: &mut Session,
    applied: Option<String>,
) -> Result<Loss> {
    let keys: Vec<_> = channels.iter().map(Channel::marker).collect();
    let rows = copy.query(&remote_sql::least_token(&keys))?;
    let complete_until = rows.first().map_or(Ok(None), |row| row.parsed("token"))?;
    let known = replica_states::of(migration.id).map(|state| state.log_end).filter(|&end| end > 0);
    let applied = applied.and_then(|place| place.parse::<i64>().ok());
    let bytes = known.zip(applied).map(|(end, place)| (end - place).max(0));
    Ok(Loss { complete_until, bytes })
}

fn flip(
    migration: &Migration,
    from: NodeId,
    to: NodeId,
    enable: &[String],
    loss: &Loss,
) -> Result<()> {
    if !catalog::lock_shards_within(&[migration.shard], LOCKS)? {
        return Err(Error::new(
            Code::ERRCODE_LOCK_NOT_AVAILABLE,
            "transactions are still using the schemas on the lost node",
        ));
    }
    let id = migration.id;
    Endpoint::of(to).execute("SET LOCAL helios.migration_session = on")?;
    let schemas = names(&migration.schemas);
    Endpoint::of(to)
        .execute(&format!("SELECT helios.advance_sequences({schemas}::text[], {MARGIN})"))?;
    Endpoint::of(to).execute(&remote_sql::lift_fences(id))?;
    enable.iter().try_for_each(|statement| Endpoint::of(to).execute(statement))?;
    catalog::move_shards(&[(migration.shard, to)])?;
    for schema in &migration.schemas {
        catalog::cleanup::remove(id, to, cleanup::copy_kind(migration, to), schema)?;
        catalog::cleanup::remove(id, from, cleanup::copy_kind(migration, from), schema)?;
        catalog::cleanup::add(id, from, "former", schema)?;
    }
    primary::detach_new_schemas(migration, to)?;
    promoted(migration, Some(loss))?;
    let outcome = match migration.state.is_before_switch() {
        true => State::Finished,
        false => State::RolledBack,
    };
    migration::end(id, outcome, None)?;
    failpoint::hit(failpoint::MIGRATION_FLIP_BEFORE)
}
