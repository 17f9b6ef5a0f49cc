//! The worker that monitors all replicas of a database: writes markers, records each replica's progress, copies
//! sequence positions, and replaces lost replicas.
//!
//! A marker is the time at which it was written, so a marker found on a replica tells up to which time it is complete.
//! A node that does not respond delays the others by a few seconds at most, and is skipped afterwards until it is known
//! to be back.

use super::set;
use crate::catalog::migration::{self, Migration};
use crate::catalog::remote_sql::{self, MARKERS, Marker, MarkerKey};
use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::migration::direction::{self, Direction};
use crate::migration::replica_rows::give_up;
use crate::pg::error::notify;
use crate::pg::ipc::worker;
use crate::pg::session;
use crate::remote::{Record, Session};
use crate::replication::channel::Channel;
use crate::replication::endpoint::Endpoint;
use crate::replication::endpoints::literal;
use crate::replication::source_catalogs;
use crate::settings;
use crate::shared::replica_states::{self, State};
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Timeout for one response of a node.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Interval between transfers of sequence positions to the replicas.
const POSITIONS: Duration = Duration::from_secs(5);
/// Interval between checks for missing replicas.
const MAKE_UP: Duration = Duration::from_secs(2);

/// A replica in sync.
struct Followed {
    migration: Migration,
    channels: Vec<Channel>,
}

/// Positions of sequences, as returned by `source_catalogs::positions`.
type Positions = Vec<(String, String, bool)>;

/// State of the worker.
#[derive(Default)]
struct Watch {
    sessions: BTreeMap<NodeId, Session>,
    positions: BTreeMap<i64, Positions>,
    /// The last message logged about each node, so that it is logged once.
    reported: BTreeMap<NodeId, String>,
}

/// Monitors the replicas until there are none and none are wanted.
pub fn watch() {
    let mut watch = Watch::default();
    let (mut positions, mut made_up) = (Instant::now(), None::<Instant>);
    loop {
        let interval = interval();
        let began = Instant::now();
        match worker::attempt(catalog::replica::any).and_then(|any| Ok((any, load()?))) {
            Ok((false, _)) => return,
            Ok((true, copies)) => {
                watch.poll(&copies, interval);
                if positions.elapsed() >= POSITIONS {
                    positions = Instant::now();
                    watch.bring_positions(&copies);
                }
            }
            Err(error) => notify(PgLogLevel::LOG, &error),
        }
        if made_up.is_none_or(|last| last.elapsed() >= MAKE_UP) {
            made_up = Some(Instant::now());
            if let Err(error) = worker::attempt(set::replace_lost_copies) {
                notify(PgLogLevel::LOG, &error);
            }
        }
        let next = interval.saturating_sub(began.elapsed());
        worker::sleep(next.max(Duration::from_millis(5)));
    }
}

fn interval() -> Duration {
    Duration::from_millis(u64::try_from(settings::REPLICA_INTERVAL.get()).unwrap_or(1000))
}

/// Loads the replicas in sync.
fn load() -> Result<Vec<Followed>> {
    let migrations = worker::attempt(|| {
        let ids = catalog::replica::in_step()?;
        ids.into_iter().map(migration::load).collect::<Result<Vec<_>>>()
    })?;
    let follow = |migration: Migration| {
        let direction =
            if migration.state.is_before_switch() { Direction::Forward } else { Direction::Back };
        Ok(Followed { channels: direction::channels(&migration, direction)?, migration })
    };
    migrations.into_iter().map(follow).collect()
}

/// State of a slot as reported by the publisher.
struct Slot {
    lost: bool,
    bytes: i64,
    log_end: i64,
}

impl Watch {
    fn poll(&mut self, copies: &[Followed], interval: Duration) {
        let mut slots = BTreeMap::new();
        for (node, markers) in markers(copies, |channel| channel.publisher) {
            match self.ask(node, |session| publish(session, &markers)) {
                Some(found) => slots.extend(found),
                None => continue,
            }
        }
        // Most markers arrive within milliseconds.
        worker::sleep((interval / 8).min(Duration::from_millis(50)));
        let mut tokens = BTreeMap::new();
        for (node, markers) in markers(copies, |channel| channel.subscriber) {
            if let Some(found) = self.ask(node, |session| arrived(session, &markers)) {
                tokens.extend(found.into_iter().map(|marker| (marker.key, marker.token)));
            }
        }
        let states: Vec<State> = copies.iter().map(|copy| state(copy, &slots, &tokens)).collect();
        for migration in replica_states::note(&states) {
            log(format!("the replica maintained by migration {migration} is in sync again"));
        }
        let followed = |one: &&Followed| {
            one.channels.iter().any(|channel| slots.get(&channel.name).is_some_and(|s| s.lost))
        };
        copies.iter().filter(followed).for_each(|one| drop_out(&one.migration));
    }

    /// Sends a query to a node; None if it does not respond.
    fn ask<T>(
        &mut self,
        node: NodeId,
        question: impl FnOnce(&mut Session) -> Result<T>,
    ) -> Option<T> {
        let session = match self.sessions.remove(&node) {
            Some(session) => Ok(session),
            None => worker::attempt(|| Endpoint::of(node).session()),
        };
        let answer = session.and_then(|mut session| {
            session.set_time_limit(Some(Instant::now() + ANSWER_TIMEOUT));
            let answer = question(&mut session)?;
            session.set_time_limit(None);
            self.sessions.insert(node, session);
            Ok(answer)
        });
        match answer {
            Ok(answer) => {
                self.reported.remove(&node);
                Some(answer)
            }
            Err(error) => {
                let line = error.to_string();
                if self.reported.get(&node) != Some(&line) {
                    notify(PgLogLevel::LOG, &error.context("following copies".to_owned()));
                    self.reported.insert(node, line);
                }
                None
            }
        }
    }

    /// Copies sequence positions to the replicas, in case the primary is lost.
    fn bring_positions(&mut self, copies: &[Followed]) {
        self.positions.retain(|id, _| copies.iter().any(|copy| copy.migration.id == *id));
        for copy in copies {
            let Migration { id, schemas, .. } = &copy.migration;
            let (from, to) = (copy.migration.primary(), copy.migration.follower());
            let Some(now) = self.ask(from, |session| source_catalogs::positions(session, schemas))
            else {
                continue;
            };
            let before = self.positions.get(id).cloned().unwrap_or_default();
            if self
                .ask(to, |session| source_catalogs::set_positions(session, &now, &before))
                .is_some()
            {
                self.positions.insert(*id, now);
            }
        }
    }
}

/// The marker of a channel, and the channel's slot.
struct ChannelMarker {
    key: MarkerKey,
    slot: String,
}

fn markers(
    copies: &[Followed],
    end: impl Fn(&Channel) -> NodeId,
) -> BTreeMap<NodeId, Vec<ChannelMarker>> {
    let mut all: BTreeMap<NodeId, Vec<ChannelMarker>> = BTreeMap::new();
    for copy in copies {
        for channel in &copy.channels {
            let marker = ChannelMarker { key: channel.marker(), slot: channel.name.clone() };
            all.entry(end(channel)).or_default().push(marker);
        }
    }
    all
}

fn keys(markers: &[ChannelMarker]) -> Vec<MarkerKey> {
    markers.iter().map(|marker| marker.key.clone()).collect()
}

/// Writes markers on their publisher; returns the state of their slots by name.
fn publish(session: &mut Session, markers: &[ChannelMarker]) -> Result<Vec<(String, Slot)>> {
    let names: Vec<_> = markers.iter().map(|marker| literal(&marker.slot)).collect();
    let rows = session.query(&format!(
        "{};
         SELECT n AS slot, s.slot_name IS NULL OR s.wal_status = 'lost' AS lost,
                pg_wal_lsn_diff(pg_current_wal_lsn(), s.confirmed_flush_lsn)::bigint AS bytes,
                (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint AS log_end
           FROM unnest(ARRAY[{}]::name[]) AS n LEFT JOIN pg_replication_slots s ON s.slot_name = n",
        remote_sql::write_markers(MARKERS, &keys(markers), session::clock()),
        names.join(", ")
    ))?;
    let slot = |row: &Record| {
        let bytes = row.parsed("bytes")?.unwrap_or(0);
        let log_end = row.parsed("log_end")?.unwrap_or(0);
        Ok((row.text("slot")?, Slot { lost: row.flag("lost")?, bytes, log_end }))
    };
    rows.iter().map(slot).collect()
}

/// Reads the markers that have arrived at a subscriber.
fn arrived(session: &mut Session, markers: &[ChannelMarker]) -> Result<Vec<Marker>> {
    session.query(&Marker::of(&keys(markers)))?.iter().map(Marker::read).collect()
}

fn state(
    copy: &Followed,
    slots: &BTreeMap<String, Slot>,
    tokens: &BTreeMap<MarkerKey, i64>,
) -> State {
    let id = copy.migration.id;
    let channels = || copy.channels.iter();
    let token = |channel: &Channel| tokens.get(&channel.marker()).copied().unwrap_or(0);
    let slots: Vec<&Slot> = channels().filter_map(|channel| slots.get(&channel.name)).collect();
    State {
        migration: id,
        complete_until: channels().map(token).min().unwrap_or(0),
        seen: session::clock(),
        bytes: slots.iter().map(|slot| slot.bytes).max().unwrap_or(0),
        log_end: slots.iter().map(|slot| slot.log_end).max().unwrap_or(0),
        degraded: 0,
    }
}

/// A replica whose slot was invalidated cannot follow anymore.
fn drop_out(migration: &Migration) {
    let reason = "the replication slot was invalidated (max_slot_wal_keep_size may be too small) or lost in a failover";
    let dropped = worker::attempt(|| {
        // A request that arrived in the meantime takes precedence.
        let now = migration::load(migration.id)?;
        if now.state == migration.state && now.request.is_none() {
            give_up(&now, reason)?;
        }
        Ok(())
    });
    match dropped {
        Ok(()) => log(format!(
            "abandoning the replica maintained by migration {}: {reason}",
            migration.id
        )),
        Err(error) => notify(PgLogLevel::LOG, &error),
    }
}

fn log(message: String) {
    notify(PgLogLevel::LOG, &Error::new(Code::ERRCODE_SUCCESSFUL_COMPLETION, message));
}
