//! The fence: the few milliseconds in which a shard cannot be written. It consists of the shard's lock on the
//! coordinator, which blocks routed statements, and of locks on its tables on the node, which block all others.
//!
//! Both are acquired in one local transaction and released at its end. The lock timeout is half of
//! `helios.max_switch_stall`, so that no statement waits longer than that; no fence is attempted while a long-running
//! transaction holds conflicting locks ([`blocking_transactions`]).

use crate::catalog::migration::Migration;
use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::pg::session::sql;
use crate::remote::Session;
use crate::replication::endpoint::Endpoint;
use crate::replication::endpoints::{literal, names, text};
use crate::replication::source_catalogs::Lockable;
use crate::settings;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// A fence that is held, or is being raised.
pub struct Fence {
    began: Instant,
    until: Instant,
}

/// Whom a fence blocks from the tables. Nobody reaches a node's tables through this server in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeepOut {
    /// Writers only.
    Writers,
    /// Everybody: readers of local tables are not blocked by the shard's lock, and would continue to read the outdated
    /// copy. Unlogged tables remain readable, because they are copied while the fence is held.
    Everybody,
}

impl Fence {
    /// How long the fence may still be held.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// When the fence must be released.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// For how long the fence has been held or waited for.
    pub fn held_for(&self) -> Duration {
        self.began.elapsed()
    }

    /// Raises the fence for the shard, whose rows are on this node. Must be called in a transaction, whose end releases
    /// it; on a server outside of the cluster, the end of the transaction that the session `outside` begins.
    ///
    /// 55P03, 57014 or 40P01 if the locks cannot be acquired in time.
    pub fn raise(
        migration: &Migration,
        node: NodeId,
        (tables, keep_out): (&[Lockable], KeepOut),
        mut outside: Option<&mut Session>,
    ) -> Result<Self> {
        let most = Duration::from_millis(settings::MAX_SWITCH_STALL.get().unsigned_abs().into());
        let began = Instant::now();
        let fence = Self { began, until: began + most };
        // Half of the time is for acquiring the locks, the rest for the work done while they are held.
        let lock_timeout = most / 2;
        let endpoint = Endpoint::of(node);
        if endpoint == Endpoint::Local {
            lock_tables_here(&fence, lock_timeout, tables, keep_out)?;
            limit_locks(lock_timeout.saturating_sub(fence.held_for()))?;
            catalog::lock_shard_exclusive(migration.shard);
            return Ok(fence);
        }
        limit_locks(lock_timeout)?;
        catalog::lock_shard_exclusive(migration.shard);
        let left =
            lock_timeout.saturating_sub(fence.held_for()).max(Duration::from_millis(1)).as_millis();
        // An autovacuum worker yields after deadlock_timeout.
        let mut on = |statement: &str| match &mut outside {
            Some(session) => session.query(statement).map(|_| ()),
            None => endpoint.execute(statement),
        };
        if endpoint.is_foreign() {
            on(
                "BEGIN; SELECT set_config('deadlock_timeout', '20', true) FROM pg_roles WHERE rolname = current_user AND rolsuper",
            )?;
        } else {
            on("SET LOCAL deadlock_timeout = 20")?;
        }
        let (lock, statement) = (("lock_timeout", left), ("statement_timeout", left));
        for (setting, value) in [lock, statement, ("idle_in_transaction_session_timeout", 0)] {
            on(&format!("SET LOCAL {setting} = {value}"))?;
        }
        on("SET LOCAL helios.migration_session = on")?;
        for some in tables.chunks(1000) {
            let list: Vec<_> = some.iter().map(|table| format!("ONLY {}", table.name)).collect();
            on(&format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", list.join(", ")))?;
        }
        on("SET LOCAL statement_timeout = 0")?;
        Ok(fence)
    }
}

thread_local! {
    /// Whether the last attempt locked the local tables in the order of their OIDs.
    static IN_ORDER: Cell<bool> = const { Cell::new(false) };
}

/// Locks local tables. Clients lock them before any lock of Helios, so they precede the shard's lock. Alternates the
/// order between attempts, because a fence that waits for clients which lock in the opposite order deadlocks.
fn lock_tables_here(
    fence: &Fence,
    lock_timeout: Duration,
    tables: &[Lockable],
    keep_out: KeepOut,
) -> Result<()> {
    for setting in ["deadlock_timeout = 20", "helios.migration_session = on"] {
        sql::run(&format!("SET LOCAL {setting}"), &[])?;
    }
    let in_order = !IN_ORDER.get();
    IN_ORDER.set(in_order);
    for number in 0..tables.len() {
        let table = &tables[if in_order { number } else { tables.len() - 1 - number }];
        let left = lock_timeout.saturating_sub(fence.held_for());
        if left.is_zero() {
            let message = format!("could not lock {} before the timeout", table.name);
            return Err(Error::new(Code::ERRCODE_LOCK_NOT_AVAILABLE, message));
        }
        limit_locks(left)?;
        let mode = match keep_out {
            KeepOut::Everybody if table.logged => "ACCESS EXCLUSIVE",
            _ => "SHARE ROW EXCLUSIVE",
        };
        sql::run(&format!("LOCK TABLE ONLY {} IN {mode} MODE", table.name), &[])?;
    }
    Ok(())
}

fn limit_locks(time: Duration) -> Result<()> {
    let set = "SELECT pg_catalog.set_config('lock_timeout', $1, true)";
    sql::run(set, &[format!("{}ms", time.as_millis().max(1)).into()])
}

/// Whether an error means that a conflicting transaction holds a lock; a retry may succeed.
pub fn is_lock_conflict(error: &Error) -> bool {
    [
        Code::ERRCODE_LOCK_NOT_AVAILABLE,
        Code::ERRCODE_QUERY_CANCELED,
        Code::ERRCODE_T_R_DEADLOCK_DETECTED,
        Code::ERRCODE_T_R_SERIALIZATION_FAILURE,
    ]
    .into_iter()
    .any(|code| error.is(code))
}

/// Describes long-running transactions that hold locks which conflict with a fence, on this server or on the node. None
/// if there are none.
pub fn blocking_transactions(
    migration: &Migration,
    node: &mut Session,
    keep_out: KeepOut,
) -> Result<Option<String>> {
    let seconds = settings::MAX_SWITCH_STALL.get() as f64 / 4000.0;
    let holders = "SELECT string_agg(DISTINCT l.pid::text, ', ') FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
                    WHERE l.locktype = 'object' AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
                      AND l.classid = $1 AND l.objid = $2::bigint::oid AND l.granted
                      AND a.xact_start < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $3)";
    let catalog = catalog::lock_catalog().unwrap_or(pgrx::pg_sys::InvalidOid);
    let arguments = [catalog.into(), migration.shard.0.into(), seconds.into()];
    if let Some(pids) = sql::read_one::<String>(holders, &arguments)? {
        return Ok(Some(format!(
            "waiting for transactions of processes {pids} on the coordinator that use its schemas"
        )));
    }
    let (harmless, do_what) = match keep_out {
        KeepOut::Writers => ("'AccessShareLock', 'RowShareLock'", "write to"),
        KeepOut::Everybody => ("''", "use"),
    };
    let rows = node.query(&format!(
        "SELECT string_agg(DISTINCT coalesce(l.pid::text, 'a prepared transaction'), ', ')
           FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
                LEFT JOIN pg_stat_activity a USING (pid)
          WHERE l.locktype = 'relation' AND n.nspname = ANY ({}) AND l.granted AND a.backend_type IS DISTINCT FROM 'autovacuum worker'
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND l.mode NOT IN ({harmless}) AND l.pid IS DISTINCT FROM pg_backend_pid()
            AND (l.pid IS NULL OR a.xact_start < clock_timestamp() - make_interval(secs => {seconds}))",
        names(&migration.schemas)
    ))?;
    let pids = rows.first().map(|row| text(row, 0)).unwrap_or_default();
    if pids.is_empty() {
        return Ok(None);
    }
    let name = Endpoint::of(node_of(migration)).name()?;
    Ok(Some(format!(
        "waiting for transactions of processes {pids} on node {} that {do_what} its schemas",
        literal(&name)
    )))
}

fn node_of(migration: &Migration) -> NodeId {
    if migration.state.is_before_switch() { migration.source } else { migration.target }
}

/// Waits until no transaction uses the schema under the lock of its former shard.
pub fn has_left_old_shard(migration: &Migration, known: &mut Option<Vec<String>>) -> Result<bool> {
    let Some(old) = migration.former_shard else { return Ok(true) };
    let holders = "SELECT coalesce(array_agg(l.pid || ' ' || l.virtualtransaction), '{}')::text[] FROM pg_catalog.pg_locks l
                    WHERE l.locktype = 'object' AND l.classid = $1 AND l.objid = $2::bigint::oid AND l.granted
                      AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())";
    let catalog = catalog::lock_catalog().unwrap_or(pgrx::pg_sys::InvalidOid);
    let now: Vec<String> =
        sql::read_one(holders, &[catalog.into(), old.0.into()])?.unwrap_or_default();
    let waiting = known.get_or_insert_with(|| now.clone());
    waiting.retain(|holder| now.contains(holder));
    Ok(waiting.is_empty())
}
