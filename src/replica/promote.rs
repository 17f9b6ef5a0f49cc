//! Requests the promotion of a replica, which the worker of its migration carries out.

use crate::catalog::{self, Node, NodeId};
use crate::error::{Error, Result};
use crate::migration::Subject;
use crate::migration::start;
use crate::pg::ipc::wait;
use crate::pg::session::{self, client};
use crate::replication::endpoint::Endpoint;
use crate::shared::{replica_states, worker_slots};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::rc::Rc;
use std::time::Duration;

/// How often the waiting session polls.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Outcome of a promotion.
pub struct Promoted {
    /// Node of the new primary.
    pub node: String,
    /// The old primary did not respond.
    pub primary_lost: bool,
    /// The replica has everything committed before this time (microseconds since 2000); None if unknown, or if nothing
    /// was lost.
    pub complete_until: Option<i64>,
    /// WAL of the lost node that was not applied, in bytes, as far as known.
    pub bytes_behind: Option<i64>,
}

/// Promotes the replica on this node, or the one that has progressed furthest, and waits until that is done.
///
/// 25001 in a transaction block, 55000 if there is no such replica or promotion failed, 08001 if its node does not
/// respond.
pub fn promote(subject: &Subject, node: Option<&Rc<Node>>) -> Result<Promoted> {
    if client::in_transaction_block() {
        return Err(Error::new(
            Code::ERRCODE_ACTIVE_SQL_TRANSACTION,
            "helios_promote_replica cannot run inside a transaction block",
        )
        .hint("A background process promotes the replica and would wait for this transaction."));
    }
    let found = start::find(subject)?;
    let replicas = catalog::replicas(found.shard)?;
    let fits = |replica: &&catalog::Replica| node.is_none_or(|node| replica.node == node.id);
    let nearness = |replica: &&catalog::Replica| {
        let state = replica_states::of(replica.migration).unwrap_or_default();
        (state.degraded == 0, state.complete_until)
    };
    let best = replicas.iter().filter(fits).max_by_key(nearness).ok_or_else(|| {
        let names: Vec<&str> = replicas.iter().map(|replica| replica.name.as_str()).collect();
        let where_ = node.map_or(String::new(), |node| format!(" on node \"{}\"", node.name));
        Error::new(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("{} has no replica in sync{where_}", found.shown),
        )
        .detail(match names.is_empty() {
            true => "No node has a replica in sync.".to_owned(),
            false => format!("Nodes with a replica in sync: {}.", names.join(", ")),
        })
        .hint("The view helios_replicas shows the replicas. Use helios_set_replicas() to create replicas.")
    })?;
    let (id, target) = (best.migration, best.node);
    Endpoint::of(target).session()?; // or its error: nobody is to wait for a node that does not answer
    let mut own = Endpoint::Local.session()?;
    let request = format!(
        "UPDATE helios.migration SET wish = 'promote', retry_at = NULL
          WHERE id = {id} AND state IN ('in_step', 'switch', 'dual_write_back') AND wish IS NULL RETURNING id"
    );
    let ask = format!(
        "SELECT (SELECT node FROM helios.shard WHERE id = {}) AS node, state, error FROM helios.migration WHERE id = {id}",
        found.shard.0
    );
    let mut asked = false;
    loop {
        if !asked {
            // Use a separate transaction, which the worker can see while this one waits.
            asked = !own.query(&request)?.is_empty();
            worker_slots::wake(session::database_id());
        }
        let rows = own.query(&ask)?;
        let (state, error) = match rows.first() {
            Some(row) if row.parsed("node")? == Some(target.0) => break,
            Some(row) => (row.text("state")?, row.text("error")?),
            None => Default::default(),
        };
        if rows.is_empty() || ["cleanup", "failed", "cancelled"].contains(&state.as_str()) {
            return Err(Error::new(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("could not promote the replica of {}", found.shown),
            )
            .detail(error)
            .hint("The view helios_replicas shows the remaining replicas."));
        }
        wait::for_any(&[], POLL_INTERVAL);
    }
    recorded_outcome(&mut own, id, target)
}

/// Reads the outcome that the promotion recorded.
fn recorded_outcome(own: &mut crate::remote::Session, id: i64, node: NodeId) -> Result<Promoted> {
    let rows = own.query(&format!(
        "SELECT primary_lost, bytes_behind,
                (extract(epoch FROM complete_until - '2000-01-01 UTC'::timestamptz) * 1000000)::bigint AS complete_until
           FROM helios.promotion WHERE migration = {id} ORDER BY id DESC LIMIT 1"
    ))?;
    let node = catalog::node(node)?.name.clone();
    match rows.first() {
        Some(row) => Ok(Promoted {
            node,
            primary_lost: row.flag("primary_lost")?,
            complete_until: row.parsed("complete_until")?,
            bytes_behind: row.parsed("bytes_behind")?,
        }),
        None => {
            Ok(Promoted { node, primary_lost: false, complete_until: None, bytes_behind: None })
        }
    }
}
