//! Detects deadlocks that involve several servers.
//!
//! A backend that has waited for a node longer than `deadlock_timeout` publishes that in shared memory and wakes up
//! this worker. It reads the wait-for edges from the nodes concerned and from this server, merges them, and cancels the
//! youngest transaction of a cycle with 40P01. The reads are not simultaneous, so a deadlock only counts if it is found
//! twice. A backend that has just begun to wait cannot be chosen yet, although it may be the youngest: the worker gives
//! it the time to become a candidate.

use super::log::log;
use crate::catalog::{self, NodeId};
use crate::error::Result;
use crate::pg::catalog::privileges;
use crate::pg::error::notify;
use crate::pg::ipc::worker;
use crate::pg::session::sql;
use crate::remote::{Record, Rows, Session};
use crate::shared::backends::{self, Backend};
use crate::transaction;
use helios_core::deadlock::{self, Deadlock, Transaction, Wait};
use pgrx::PgLogLevel;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Time limit for connecting to one node and for its response.
const NODE_TIME: Duration = Duration::from_secs(3);

/// Minimum interval between two checks.
const PAUSE: Duration = Duration::from_millis(100);

/// All pairs of a process that waits for a lock and a process that blocks it. Prepared transactions (process 0) do not
/// wait.
const WAITS: &str = "SELECT DISTINCT l.pid AS waiter, b.pid AS holder FROM pg_catalog.pg_locks l, \
    LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(l.pid)) AS b(pid) \
    WHERE NOT l.granted AND b.pid <> 0";

/// The detector of one database.
#[derive(Default)]
pub struct Detector {
    /// Kept while there are waits.
    sessions: BTreeMap<i32, Session>,
    last: Option<Instant>,
    /// Deadlocks whose members are not all candidates yet, with the time of their first detection.
    early: BTreeMap<Vec<Transaction>, Instant>,
}

impl Detector {
    /// Checks for deadlocks if a backend waits. Returns the time until the next check, if one is needed.
    pub fn poll(&mut self, database: u32) -> Option<Duration> {
        if !backends::any_waits(database) {
            self.sessions.clear();
            self.early.clear();
            return None;
        }
        if let Some(left) = self.last.and_then(|last| PAUSE.checked_sub(last.elapsed())) {
            return Some(left);
        }
        let outcome = worker::in_transaction(|| self.resolve(database));
        self.last = Some(Instant::now());
        if let Err(error) = outcome {
            notify(PgLogLevel::LOG, &error);
        }
        Some(crate::pg::session::deadlock_timeout())
    }

    fn resolve(&mut self, database: u32) -> Result<()> {
        let before = backends::of_database(database);
        let candidates: BTreeMap<i32, i64> = before
            .iter()
            .filter(|backend| backend.waiting_since.is_some())
            .map(|backend| (backend.pid, backend.begun))
            .collect();
        let mut waits = self.waits(&before)?;
        if deadlock::find(&waits, &candidates).is_empty() {
            self.early.clear();
            return Ok(());
        }
        let again = self.waits(&backends::of_database(database))?;
        waits.retain(|wait| again.contains(wait));
        for deadlock in self.ripe(deadlock::find(&waits, &candidates)) {
            let victim = before.iter().find(|backend| backend.pid == deadlock.victim);
            if let Some(since) = victim.and_then(|backend| backend.waiting_since) {
                backends::condemn(deadlock.victim, since, &members_here(&deadlock));
                log(described(&deadlock, &waits));
            }
        }
        Ok(())
    }

    /// Deadlocks whose members are all candidates, or have had the time to become one: a wait is published after
    /// `deadlock_timeout`, which a session may have set higher than this worker's.
    fn ripe(&mut self, found: Vec<Deadlock>) -> Vec<Deadlock> {
        let grace = 2 * crate::pg::session::deadlock_timeout();
        let before = std::mem::take(&mut self.early);
        let mut ripe = Vec::new();
        for deadlock in found {
            let since = before.get(&deadlock.members).copied().unwrap_or_else(Instant::now);
            if deadlock.early && since.elapsed() < grace {
                self.early.insert(deadlock.members, since);
            } else {
                ripe.push(deadlock);
            }
        }
        ripe
    }

    /// The wait-for edges on this server and on every node where a waiting backend has a session.
    fn waits(&mut self, backends: &[Backend]) -> Result<BTreeSet<Wait>> {
        let owner: BTreeMap<(i32, i32), i32> = backends
            .iter()
            .flat_map(|backend| backend.sessions.iter().map(|session| (*session, backend.pid)))
            .collect();
        let nodes: BTreeSet<i32> = backends
            .iter()
            .filter(|backend| backend.waiting_since.is_some())
            .flat_map(|backend| backend.sessions.iter().map(|(node, _)| *node))
            .collect();
        let mut waits = BTreeSet::new();
        for node in nodes {
            let who = |pid: i32| match owner.get(&(node, pid)) {
                Some(backend) => Transaction::Here(*backend),
                None => Transaction::There(node, pid),
            };
            for (waiter, holder) in self.ask(node) {
                waits.insert(Wait { waiter: who(waiter), holder: who(holder), server: node });
            }
        }
        let pair = |row: &sql::Row<'_>| Ok((row.option("waiter")?, row.option("holder")?));
        let here = sql::read_rows(WAITS, &[], pair)?;
        for (waiter, holder) in here {
            if let (Some(waiter), Some(holder)) = (waiter, holder) {
                let (waiter, holder) = (Transaction::Here(waiter), Transaction::Here(holder));
                waits.insert(Wait { waiter, holder, server: 0 });
            }
        }
        Ok(waits)
    }

    /// A node that cannot be reached now is skipped until the next check.
    fn ask(&mut self, node: i32) -> Vec<(i32, i32)> {
        let pair = |row: &Record| Ok(row.parsed("waiter")?.zip(row.parsed("holder")?));
        let answer = self.query(node).and_then(|rows| rows.iter().map(pair).collect());
        let pairs: Vec<Option<(i32, i32)>> = answer.unwrap_or_else(|error| {
            self.sessions.remove(&node);
            log(format!("could not check for deadlocks on node {node}: {error}"));
            Vec::new()
        });
        pairs.into_iter().flatten().collect()
    }

    fn query(&mut self, node: i32) -> Result<Rows> {
        let mut session = match self.sessions.remove(&node) {
            Some(session) => session,
            None => {
                let role = privileges::role_name(catalog::catalogs_owner()?);
                let node = catalog::node(NodeId(node))?;
                transaction::refuse_silent(&node)?;
                let mut target = transaction::target(&node, &role)?;
                target.connect_timeout = target.connect_timeout.min(NODE_TIME);
                Session::connect(&Rc::new(target), &role)?
            }
        };
        session.set_time_limit(Some(Instant::now() + NODE_TIME));
        let rows = session.query(WAITS)?;
        self.sessions.insert(node, session);
        Ok(rows)
    }
}

/// Members that are backends of this server.
fn members_here(deadlock: &Deadlock) -> Vec<i32> {
    let here = |member: &Transaction| match member {
        Transaction::Here(pid) => Some(*pid),
        Transaction::There(..) => None,
    };
    deadlock.members.iter().filter_map(here).collect()
}

fn described(deadlock: &Deadlock, waits: &BTreeSet<Wait>) -> String {
    let name = |transaction: Transaction| match transaction {
        Transaction::Here(pid) => format!("process {pid}"),
        Transaction::There(node, pid) => format!("process {pid} of node {node}"),
    };
    let lines = waits
        .iter()
        .filter(|wait| {
            deadlock.members.contains(&wait.waiter) && deadlock.members.contains(&wait.holder)
        })
        .map(|wait| {
            let place = match wait.server {
                0 => "on the coordinator".to_owned(),
                node => format!("on node {node}"),
            };
            format!("{} waits for {} {place}", name(wait.waiter), name(wait.holder))
        });
    let lines: Vec<String> = lines.collect();
    format!(
        "distributed deadlock detected: {}; canceling process {}",
        lines.join(", "),
        deadlock.victim
    )
}
