//! Requests the promotion of a replica, which the worker of its migration carries out.

use crate::catalog::own_session::{self, CopyState, Promotion};
use crate::catalog::{self, Node};
use crate::error::{Error, Result};
use crate::migration::Subject;
use crate::migration::start;
use crate::pg::ipc::wait;
use crate::pg::session::{self, client};
use crate::replication::endpoint::Endpoint;
use crate::shared::{replica_states, worker_slots};
use helios_core::migration::Request;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::rc::Rc;
use std::time::Duration;

/// How often the waiting session polls.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Outcome of a promotion.
pub struct Promoted {
    /// Node of the new primary.
    pub node: String,
    /// What may have been lost in the promotion.
    pub noted: Promotion,
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
    Endpoint::of(target).session()?; // fail early if the node does not respond
    let mut own = Endpoint::Local.session()?;
    let request = own_session::submit(id, Request::Promote);
    let ask = CopyState::of(id, found.shard);
    let mut asked = false;
    loop {
        if !asked {
            // Use a separate transaction, which the worker can see while this one waits.
            asked = !own.query(&request)?.is_empty();
            worker_slots::wake(session::database_id());
        }
        let copy = own.query(&ask)?.first().map(CopyState::read).transpose()?;
        let error = match copy {
            Some(copy) if copy.node == Some(target) => break,
            Some(copy) if copy.state.is_over() => Some(copy.error),
            Some(_) => None,
            None => Some(String::new()),
        };
        if let Some(error) = error {
            return Err(Error::new(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("could not promote the replica of {}", found.shown),
            )
            .detail(error)
            .hint("The view helios_replicas shows the remaining replicas."));
        }
        wait::for_any(&[], POLL_INTERVAL);
    }
    let noted = own.query(&Promotion::latest(id))?.first().map(Promotion::read).transpose()?;
    Ok(Promoted { node: catalog::node(target)?.name.clone(), noted: noted.unwrap_or_default() })
}
