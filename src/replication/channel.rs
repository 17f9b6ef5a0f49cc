//! One direction of logical replication between the two copies: publication and slot on one node, subscription on the
//! other, and the marker that shows how far the subscriber has progressed.
//!
//! There is one channel for each owner of tables, because code that runs when changes are applied to a table (checks,
//! generated columns, indexes, triggers) has the privileges of the subscription's owner: see
//! [`crate::replication::apply_role`].
//!
//! Everything here is built-in logical replication. Publisher and subscriber are set up in separate steps, because a
//! slot created by CREATE SUBSCRIPTION does not export a snapshot.

use crate::catalog::migration::Migration;
use crate::catalog::migration_table::{self, MovingTable};
use crate::catalog::remote_sql::{self, MarkerKey};
use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::pg::ipc::wait;
use crate::pg::session as local;
use crate::remote::{Rows, Session};
use crate::replication::apply_role::{self, Owner};
use crate::replication::endpoint::Endpoint;
use crate::replication::endpoints::{self, column, identifier, literal, text};
use crate::replication::foreign_server;
use crate::replication::interruptible::{self, Interruptible};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Pause between two checks whether the marker has arrived.
const POLL_INTERVAL: Duration = Duration::from_millis(1);
/// Number of errors of the apply worker before giving up.
const MOST_ERRORS: i64 = 3;

/// Replication from one copy to the other, for the tables of one owner.
#[derive(Clone, Debug)]
pub struct Channel {
    migration: i64,
    /// Name of publication, slot and subscription.
    pub name: String,
    /// Distinguishes its marker from those of other channels.
    direction: String,
    /// Number of the owner whose tables it replicates.
    pub part: i32,
    /// The table with the marker, on both ends.
    markers: String,
    pub publisher: NodeId,
    pub subscriber: NodeId,
}

impl Channel {
    /// The channel from the old copy to the new one, for the tables of one owner that were copied in this round.
    pub fn forward(migration: &Migration, round: i32, part: i32) -> Result<Self> {
        Self::new(migration, format!("{round}"), part, (migration.source, migration.target))
    }

    /// The channel from the new copy to the old one, for the tables of one owner.
    pub fn back(migration: &Migration, part: i32) -> Result<Self> {
        Self::new(migration, "back".to_owned(), part, (migration.target, migration.source))
    }

    fn new(
        m: &Migration,
        mut direction: String,
        part: i32,
        (from, to): (NodeId, NodeId),
    ) -> Result<Self> {
        if part > 0 {
            direction.push_str(&format!("p{part}"));
        }
        let name = format!("helios_{}_{}_{direction}", catalog::cluster_id()?, m.id);
        let markers = match Endpoint::of(m.source) {
            Endpoint::Foreign(_) => {
                format!("{}.migration_marker", identifier(&foreign_server::own_schema(m.id)?))
            }
            Endpoint::Local | Endpoint::Node(_) => remote_sql::MARKERS.to_owned(),
        };
        Ok(Self {
            migration: m.id,
            name,
            direction,
            part,
            markers,
            publisher: from,
            subscriber: to,
        })
    }

    /// Distinguishes its marker from those of other channels.
    pub fn marker(&self) -> MarkerKey {
        (self.migration, self.direction.clone())
    }

    /// Records the objects for cleanup before they are created.
    pub fn note_cleanup(&self) -> Result<()> {
        catalog::cleanup::add(self.migration, self.publisher, "publication", &self.name)?;
        catalog::cleanup::add(self.migration, self.publisher, "slot", &self.name)?;
        catalog::cleanup::add(self.migration, self.subscriber, "subscription", &self.name)
    }

    /// Creates the publication, replacing an earlier one, and the marker on both ends.
    pub fn publish(
        &self,
        publisher: &mut Session,
        subscriber: &mut Session,
        tables: &[&MovingTable],
    ) -> Result<()> {
        let marker = remote_sql::add_channel_marker(&self.markers, &self.marker());
        publisher.query(&marker)?;
        subscriber.query(&marker)?;
        publisher.query(&format!(
            "DROP PUBLICATION IF EXISTS {0}; CREATE PUBLICATION {0} FOR TABLE {1}",
            identifier(&self.name),
            self.published(tables)
        ))?;
        Ok(())
    }

    /// Reduces the publication to these tables. A subscription created afterwards applies no changes of other tables,
    /// although the slot still contains earlier ones.
    pub fn narrow(&self, publisher: &mut Session, tables: &[&MovingTable]) -> Result<()> {
        let (name, published) = (identifier(&self.name), self.published(tables));
        publisher.query(&format!("ALTER PUBLICATION {name} SET TABLE {published}")).map(|_| ())
    }

    fn published(&self, tables: &[&MovingTable]) -> String {
        let own = tables.iter().filter(|table| table.part == self.part);
        let mut all: Vec<String> = own.map(|t| format!("ONLY {}", t.qualified())).collect();
        all.push(format!(
            "{} WHERE (migration = {} AND direction = {})",
            self.markers,
            self.migration,
            literal(&self.direction)
        ));
        all.join(", ")
    }

    /// Creates the slot, with a snapshot that can be imported as long as this replication session on the publisher exists.
    /// Waits for all open transactions that write.
    pub fn slot_with_snapshot(
        &self,
        migration: &Migration,
        session: &mut Session,
    ) -> Result<Interruptible<String>> {
        let create = format!(
            "CREATE_REPLICATION_SLOT {} LOGICAL pgoutput (SNAPSHOT 'export')",
            identifier(&self.name)
        );
        let name =
            |rows: &Rows| rows.first().map_or(Ok(String::new()), |row| row.text("snapshot_name"));
        Ok(match interruptible::query(migration, session, &create)? {
            Interruptible::Completed(rows) => Interruptible::Completed(name(&rows)?),
            Interruptible::Interrupted => Interruptible::Interrupted,
        })
    }

    /// Creates the slot as a copy of another channel's slot that has not been read from yet, so that it starts at the
    /// same snapshot.
    pub fn slot_like(&self, other: &Self, publisher: &mut Session) -> Result<()> {
        publisher.query(&format!(
            "SELECT pg_copy_logical_replication_slot({}, {})",
            literal(&other.name),
            literal(&self.name)
        ))?;
        Ok(())
    }

    /// Creates the slot without a snapshot unless it exists.
    pub fn slot(&self, migration: &Migration, publisher: &mut Session) -> Result<Interruptible> {
        let name = literal(&self.name);
        let create = format!(
            "SELECT pg_create_logical_replication_slot({name}, 'pgoutput')
              WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = {name})"
        );
        Ok(interruptible::query(migration, publisher, &create)?.map(drop))
    }

    /// Creates the subscription if it does not exist. It is owned by a role with the privileges of the tables' owner,
    /// and only runs with them.
    pub fn subscribe(&self, subscriber: &mut Session, enabled: bool) -> Result<()> {
        let there = format!("SELECT FROM pg_subscription WHERE subname = {}", literal(&self.name));
        if subscriber.query(&there)?.is_empty() {
            self.make_subscription(subscriber)?;
        }
        if enabled { self.enable(subscriber) } else { Ok(()) }
    }

    fn make_subscription(&self, subscriber: &mut Session) -> Result<()> {
        let tables = migration_table::of_migration(self.migration)?;
        let own = tables.iter().filter(|table| table.part == self.part && table.logged);
        let owner = apply_role::owner(subscriber, own)?;
        let connection = Endpoint::of(self.publisher).conninfo()?;
        if connection.contains("password=") {
            endpoints::keep_secret(subscriber)?;
        }
        let create = |more: &str| {
            format!(
                "CREATE SUBSCRIPTION {0} CONNECTION {1} PUBLICATION {0}
                   WITH (create_slot = false, slot_name = {0}, copy_data = false, enabled = false{more})",
                identifier(&self.name),
                literal(&connection)
            )
        };
        match owner {
            Owner::Own => subscriber.query(&create("")).map(|_| ()),
            Owner::Other { owner } => {
                let more = apply_role::options(subscriber)?;
                let [before, after] = apply_role::statements(&self.name, &owner);
                let made = subscriber
                    .query(&format!("BEGIN; {before}; {}; {after}; COMMIT", create(more)));
                if made.is_err() && !subscriber.is_lost() {
                    subscriber.query("ROLLBACK")?;
                }
                made.map(|_| ())
            }
        }
    }

    /// Enables the subscription.
    pub fn enable(&self, subscriber: &mut Session) -> Result<()> {
        let rights = apply_role::rights(&self.name, &self.markers);
        let enable = format!("ALTER SUBSCRIPTION {} ENABLE", identifier(&self.name));
        let enabled = subscriber.query(&format!("BEGIN; {rights}; {enable}; COMMIT"));
        if enabled.is_err() && !subscriber.is_lost() {
            subscriber.query("ROLLBACK")?;
        }
        enabled.map(|_| ())
    }

    /// Writes the marker on the publisher.
    pub fn mark(&self, publisher: &mut Session) -> Result<i64> {
        let token = local::clock();
        publisher.query(&remote_sql::write_markers(&self.markers, &[self.marker()], token))?;
        Ok(token)
    }

    /// Waits until the marker has arrived, which means that everything committed before it on the publisher has been
    /// applied. False on timeout.
    pub fn arrived(&self, subscriber: &mut Session, token: i64, until: Instant) -> Result<bool> {
        let ask = remote_sql::find_token(&self.markers, &self.marker(), token);
        loop {
            if !subscriber.query(&ask)?.is_empty() {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            wait::for_any(&[], POLL_INTERVAL);
        }
    }

    /// Number of WAL bytes that the subscriber has not confirmed.
    pub fn lag(&self, publisher: &mut Session) -> Result<i64> {
        let rows = publisher.query(&format!(
            "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint AS bytes, wal_status = 'lost' AS lost
               FROM pg_replication_slots WHERE slot_name = {}",
            literal(&self.name)
        ))?;
        match rows.first() {
            Some(row) if !row.flag("lost")? => Ok(row.parsed("bytes")?.unwrap_or(0)),
            _ => Err(Error::new(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("replication slot \"{}\" no longer exists or was invalidated", self.name),
            )
            .detail("Changes made during the move can no longer be replicated.")
            .hint("Increase max_slot_wal_keep_size on the node, and start the move again.")),
        }
    }

    /// 55000 if the subscriber repeatedly fails to apply changes.
    pub fn check_applies(&self, subscriber: &mut Session) -> Result<()> {
        let rows = subscriber.query(&format!(
            "SELECT t.apply_error_count FROM pg_subscription s JOIN pg_stat_subscription_stats t ON t.subid = s.oid
              WHERE s.subname = {}",
            literal(&self.name)
        ))?;
        let errors: i64 = rows.first().and_then(|row| column(row, 0)).unwrap_or(0);
        if errors < MOST_ERRORS {
            return Ok(());
        }
        let name = Endpoint::of(self.subscriber).name()?;
        Err(Error::new(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("could not apply changes made during the move on node \"{name}\""),
        )
        .detail(format!("Subscription \"{}\" has failed {errors} times.", self.name))
        .hint("See the log of that node for the reason."))
    }

    /// Advances the slot past everything that the publisher has written so far, and the origin of the subscription,
    /// which is not enabled yet. The caller makes sure that nothing skipped has to be applied.
    pub fn skip(&self, publisher: &mut Session, subscriber: &mut Session) -> Result<()> {
        // A slot can only advance over flushed WAL, and applied changes may not be flushed yet, because apply workers
        // do not wait for it.
        endpoints::flush(publisher)?;
        let rows = publisher.query(&format!(
            "SELECT end_lsn FROM pg_replication_slot_advance({}, pg_current_wal_flush_lsn())",
            literal(&self.name)
        ))?;
        let place = rows.first().map(|row| text(row, 0)).unwrap_or_default();
        // The new position of a slot is only durable after the next checkpoint; a crash before that would reset it. The
        // subscriber's origin is WAL-logged, and takes precedence over the slot's position.
        subscriber.query(&format!(
            "SELECT pg_replication_origin_advance('pg_' || oid, {}) FROM pg_subscription WHERE subname = {}",
            literal(&place),
            literal(&self.name)
        ))?;
        Ok(())
    }
}

/// The owners' numbers of the tables that logical replication replicates; without any there is still one channel, for
/// its marker.
pub fn parts<'a>(tables: impl Iterator<Item = &'a MovingTable>) -> Vec<i32> {
    let parts: BTreeSet<i32> =
        tables.filter(|table| table.logged).map(|table| table.part).collect();
    if parts.is_empty() { vec![0] } else { parts.into_iter().collect() }
}

/// The channels from the old copy to the new one.
pub fn forward(migration: &Migration) -> Result<Vec<Channel>> {
    let tables = migration_table::of_migration(migration.id)?;
    let last = migration.round;
    let mut channels = Vec::new();
    for round in 1..=last {
        let of_round = |table: &&MovingTable| table.round.unwrap_or(last) == round;
        // Skip rounds that finished no table: they have no subscription to wait for.
        if round == last || tables.iter().any(|table| of_round(&table)) {
            for part in parts(tables.iter().filter(of_round)) {
                channels.push(Channel::forward(migration, round, part)?);
            }
        }
    }
    Ok(channels)
}

/// The channels from the new copy to the old one.
pub fn back(migration: &Migration) -> Result<Vec<Channel>> {
    let tables = migration_table::of_migration(migration.id)?;
    parts(tables.iter()).into_iter().map(|part| Channel::back(migration, part)).collect()
}

/// Drops a subscription with the role that owns it, but not its slot.
pub fn drop_subscription(session: &mut Session, name: &str) -> Result<()> {
    let there = format!("SELECT FROM pg_subscription WHERE subname = {}", literal(name));
    if !session.query(&there)?.is_empty() {
        let name = identifier(name);
        session.query(&format!(
            "ALTER SUBSCRIPTION {name} DISABLE; ALTER SUBSCRIPTION {name} SET (slot_name = NONE); DROP SUBSCRIPTION {name}"
        ))?;
    }
    apply_role::drop(session, name)
}

/// Drops a slot after terminating the session that reads from it.
pub fn drop_slot(session: &mut Session, name: &str) -> Result<()> {
    let ask =
        format!("SELECT active_pid FROM pg_replication_slots WHERE slot_name = {0}", literal(name));
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let rows = session.query(&ask)?;
        let Some(row) = rows.first() else { return Ok(()) };
        match column::<i32>(row, 0) {
            Some(pid) if Instant::now() < until => {
                session.query(&format!("SELECT pg_terminate_backend({pid})"))?;
                wait::for_any(&[], Duration::from_millis(20));
            }
            _ => break,
        }
    }
    session.query(&format!("SELECT pg_drop_replication_slot({})", literal(name)))?;
    Ok(())
}
