//! Sets the number of copies of a shard.

use crate::catalog::migration::{self, Migration, NewMigration};
use crate::catalog::replica::CopyDeficit;
use crate::catalog::{self, Node, NodeId, ShardId};
use crate::error::{Error, Result};
use crate::migration::Subject;
use crate::migration::kind::Kind;
use crate::migration::replica_rows::of_shard;
use crate::migration::start::{self, ResolvedShard};
use crate::replication::endpoint::Endpoint;
use crate::shared::node_health;
use helios_core::migration::{Request, State};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::rc::Rc;

/// Delay before another attempt to create a replica, in seconds.
const AGAIN: f64 = 60.0;

/// Sets how many copies a shard or schema shall have, including the primary. Returns the migrations that create missing
/// replicas; surplus ones are removed.
///
/// 22023 for a number below 1, 55000 if there are too few nodes or nothing to copy, and the errors of [`start::claim`].
pub fn set_replicas(subject: &Subject, count: i32) -> Result<Vec<i64>> {
    if count < 1 {
        return Err(Error::new(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("invalid number of copies: {count}"),
        )
        .hint("The primary counts as a copy: 1 means no replicas."));
    }
    catalog::lock_cluster_shared();
    let found = start::claim(subject)?;
    let takes_part = start::shares_shard(subject, &found);
    if takes_part && found.replicas > 1 {
        return Err(refused(
            format!("replicas of {} belong to its shard", found.shown),
            "The shard's replicas contain all of its schemas.".to_owned(),
            &format!("Specify the shard instead: helios_set_replicas({}, {count}).", found.shard.0),
        ));
    }
    if takes_part && count == 1 {
        return Ok(Vec::new());
    }
    if count > 1 {
        check(&found, count)?;
    }
    let (shard, former_shard) = start::own_shard(subject, &found)?;
    catalog::set_replicas(shard, count)?;
    adjust_copies(shard, found.node, count, former_shard, true)
}

fn refused(message: String, detail: String, hint: &str) -> Error {
    Error::new(Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message).detail(detail).hint(hint)
}

fn check(found: &ResolvedShard, count: i32) -> Result<()> {
    let message = format!("{} cannot have {count} copies", found.shown);
    if found.schemas.is_empty() {
        let hint = "Create a schema in it first, or set the number of copies of a single schema.";
        return Err(refused(message, "The shard contains no schemas.".to_owned(), hint));
    }
    if Endpoint::of(found.node) == Endpoint::Local {
        let detail = "Schemas on the coordinator cannot have replicas.".to_owned();
        return Err(refused(
            message,
            detail,
            "Move it to another node with helios_migrate_schema() first.",
        ));
    }
    catalog::node(found.node)?.check_ours()?;
    let nodes = catalog::remote_nodes()?;
    let others = nodes.iter().filter(|node| node.takes_schemas && node.id != found.node).count();
    if usize::try_from(count).unwrap_or(usize::MAX) > others + 1 {
        let detail = format!("Only {others} other nodes accept schemas.");
        return Err(refused(message, detail, "Add nodes with helios_add_node()."));
    }
    Ok(())
}

/// Starts creating missing replicas and removing surplus ones. If there is no node for a replica, that is an error if
/// the caller `insists`; otherwise it is retried later.
fn adjust_copies(
    shard: ShardId,
    primary: NodeId,
    count: i32,
    former_shard: Option<ShardId>,
    insists: bool,
) -> Result<Vec<i64>> {
    let wanted = usize::try_from(count - 1).unwrap_or(0);
    let mut copies = of_shard(shard)?;
    // Remove replicas that are not in sync first, then the youngest.
    copies.sort_by_key(|copy| (!is_in_step(copy), copy.id));
    for copy in copies.iter().skip(wanted) {
        let request = match copy.state.is_before_switch() {
            true => Request::Cancel,
            false => Request::Finish,
        };
        catalog::as_owner(|| migration::submit(copy.id, request))?;
    }
    let missing = wanted.saturating_sub(copies.len());
    if missing == 0 {
        return Ok(Vec::new());
    }
    let taken: Vec<NodeId> = copies.iter().map(Migration::follower).chain([primary]).collect();
    let free = candidates(shard, &taken)?;
    if insists && free.len() < missing {
        let lacking = missing - free.len();
        let copies = if lacking == 1 { "copy" } else { "copies" };
        return Err(refused(
            format!("not enough nodes for {lacking} more {copies}"),
            "The other nodes are offline, draining, or have not removed a previous copy yet."
                .to_owned(),
            "The view helios_nodes shows the state of the nodes. Try again later, or request fewer copies.",
        ));
    }
    let schemas = catalog::schemas_of(shard)?;
    let begin = |target: &Rc<Node>| {
        start::check_target(target)?;
        let row = Kind::Replica.row(shard, &schemas, primary, target.id);
        migration::insert(&NewMigration { former_shard, ..row })
    };
    free.iter().take(missing).map(begin).collect()
}

fn is_in_step(copy: &Migration) -> bool {
    matches!(copy.state, State::InStep | State::Switch | State::DualWriteBack)
}

/// Nodes that can take a replica, least loaded first.
fn candidates(shard: ShardId, taken: &[NodeId]) -> Result<Vec<Rc<Node>>> {
    let mut found: Vec<(f64, Rc<Node>)> = Vec::new();
    for node in catalog::remote_nodes()? {
        use crate::shared::node_health::State::{Offline, Silent};
        let health = node_health::of(node.id.0);
        let is_there = health.is_none_or(|health| !matches!(health.state, Offline | Silent));
        if taken.contains(&node.id) || !node.takes_schemas || node.state != "online" || !is_there {
            continue;
        }
        if catalog::replica::has_remains(shard, node.id)? {
            continue;
        }
        let copies = catalog::replica::count_on(node.id)?;
        let has = catalog::schemas_on(node.id)?.len() as f64 + copies as f64 + 1.0;
        found.push((has / node.weight, node));
    }
    found.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    Ok(found.into_iter().map(|(_, node)| node).collect())
}

/// Replaces replicas that were lost or promoted; called by the worker that monitors them.
pub fn replace_lost_copies() -> Result<()> {
    for CopyDeficit { shard, node, replicas } in catalog::replica::copy_deficits(AGAIN)? {
        if !adjust_copies(shard, node, replicas, None, false)?.is_empty() {
            catalog::changed();
        }
    }
    Ok(())
}
