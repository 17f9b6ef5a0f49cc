//! Starts migrations: performs the checks that are possible at once, and inserts the row.

use super::import::shells;
use super::plain_schemas;
use super::referrers;
use super::replica_rows;
use super::requirements;
use crate::catalog::migration::{self, Migration, NewMigration};
use crate::catalog::{self, Node, NodeId, ShardId};
use crate::error::{Error, Result};
use crate::migration::kind::Kind;
use crate::pg::catalog::names;
use crate::pg::hooks::invalidation;
use crate::pg::session;
use crate::replication::endpoint::Endpoint;
use helios_core::migration::State;
use helios_core::quote;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// What shall be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A shard with all its schemas.
    Shard(ShardId),
    /// One schema, which gets a dedicated shard if it has none; with it move the schemas that are colocated with it.
    Schema(String),
}

/// Starts moving a shard or schema to another node; returns the migration's ID. The move itself starts when the local
/// transaction has committed. An empty shard moves with the transaction itself.
///
/// 42704 unknown, 55006 already being moved, 55000 target not allowed, 08001 node not reachable.
pub fn start(subject: &Subject, target: NodeId) -> Result<i64> {
    begin(Kind::Move, subject, target)
}

fn begin(kind: Kind, subject: &Subject, target: NodeId) -> Result<i64> {
    let to = catalog::node(target)?;
    check_target(&to)?;
    let found = claim(subject)?;
    if found.node == target {
        return Err(Error::new(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("{} is already on node \"{}\"", found.shown, to.name),
        )
        .hint("Choose another node."));
    }
    catalog::node(found.node)?.check_ours()?;
    replica_rows::refuse_copies(found.shard, &found.shown)?;
    if found.schemas.is_empty() {
        return move_empty(&found, target);
    }
    let (shard, former_shard) = match (kind, subject) {
        // What returns to the coordinator leaves the schemas that it was colocated with.
        (Kind::Undistribute, Subject::Schema(schema)) if found.schemas.len() > 1 => {
            split_off(schema, &found)?
        }
        _ => own_shard(subject, &found)?,
    };
    catalog::set_moving(shard, true)?;
    let schemas = catalog::schemas_of(shard)?;
    let mut endpoints = [Endpoint::of(found.node).session()?, Endpoint::of(target).session()?];
    let [from, to_node] = &mut endpoints;
    let source = Endpoint::of(found.node);
    requirements::check(&schemas, from, to_node, &format!("node \"{}\"", to.name), source)?;
    if found.schemas.len() > schemas.len() && !found.is_pooled {
        referrers::check_left_behind(&schemas, from)?;
    }
    let row = kind.row(shard, &schemas, found.node, target);
    migration::insert(&NewMigration { former_shard, ..row })
}

/// Whether the shard also contains schemas that are not to be moved. Those in a dedicated shard are colocated.
pub fn shares_shard(subject: &Subject, found: &ResolvedShard) -> bool {
    matches!(subject, Subject::Schema(_)) && found.is_pooled
}

/// The subject's own shard, and the shard it was split from for that.
pub fn own_shard(subject: &Subject, found: &ResolvedShard) -> Result<(ShardId, Option<ShardId>)> {
    match subject {
        Subject::Schema(schema) if shares_shard(subject, found) => split_off(schema, found),
        _ => Ok((found.shard, None)),
    }
}

/// Gives a schema a dedicated shard; returns it and the one that the schema was in.
fn split_off(schema: &str, found: &ResolvedShard) -> Result<(ShardId, Option<ShardId>)> {
    let own = catalog::dedicated_shard(schema, found.node)?;
    catalog::put_schema(schema, own)?;
    Ok((own, Some(found.shard)))
}

/// Starts distributing a plain schema with its contents to a node. The schema is registered as one on this server; the
/// caller has checked permissions.
pub fn start_distributing(schema: &str, target: NodeId) -> Result<i64> {
    check_target(&*catalog::node(target)?)?;
    refuse_reference_tables(schema)?;
    let shard = catalog::dedicated_shard(schema, NodeId::LOCAL)?;
    catalog::insert_schema(schema, helios_core::slot::key_of(schema), shard)?;
    catalog::set_moving(shard, true)?;
    // Cached plans call nextval() without checking where the sequence is.
    invalidation::tables_changed(schema)?;
    plain_schemas::drop_on_nodes(schema)?;
    let schemas = [schema.to_owned()];
    migration::insert(&Kind::Distribute.row(shard, &schemas, NodeId::LOCAL, target))
}

/// 55000 if there are reference tables in the schema, of which every node has a copy.
fn refuse_reference_tables(schema: &str) -> Result<()> {
    let Some(namespace) = session::namespace(schema) else { return Ok(()) };
    for table in catalog::references()? {
        if names::relation_namespace(table.relation) == Some(namespace) {
            return Err(Error::new(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("schema \"{schema}\" contains reference table {}", table.name),
            )
            .detail("Every node has a copy of a reference table, whose schema is a plain one.")
            .hint(format!(
                "Make it a plain table first: SELECT helios_undistribute_table({});",
                quote::literal(&table.name)
            )));
        }
    }
    Ok(())
}

/// Starts moving a schema to this server, where it becomes a plain one.
pub fn start_undistributing(schema: &str) -> Result<i64> {
    begin(Kind::Undistribute, &Subject::Schema(schema.to_owned()), NodeId::LOCAL)
}

/// The migration in progress of a distributed schema. A migration started concurrently waits for the end of the local
/// transaction.
pub fn of_schema(schema: &str) -> Result<Option<i64>> {
    let mut placement = catalog::any_placement_of(schema)?;
    while let Some(place) = placement {
        migration::lock_shard_row(place.shard, false)?;
        let again = catalog::any_placement_of(schema)?;
        if again.is_some_and(|again| again.shard == place.shard) {
            return migration::any_of_shard(place.shard);
        }
        placement = again;
    }
    Ok(None)
}

/// 3F000 if a schema to be moved no longer exists. Another schema may have its name.
pub fn check_still_there(migration: &Migration) -> Result<()> {
    for schema in &migration.schemas {
        let placement = catalog::any_placement_of(schema)?;
        if placement.is_none_or(|placement| placement.shard != migration.shard) {
            return Err(Error::new(
                Code::ERRCODE_INVALID_SCHEMA_NAME,
                format!("schema \"{schema}\" was renamed or dropped before the migration started"),
            )
            .hint("Start the move again."));
        }
    }
    Ok(())
}

/// Completes a migration that distributed or undistributed a schema.
pub fn settle(migration: &Migration, outcome: State) -> Result<()> {
    let kind = Kind::of(migration);
    if kind == Kind::Import {
        return shells::settle(migration, outcome);
    }
    if !kind.leaves_plain_schema(outcome) {
        return Ok(());
    }
    for schema in catalog::schemas_of(migration.shard)? {
        catalog::forget_schema(&schema)?;
        let Some(namespace) = session::namespace(&schema) else { continue };
        plain_schemas::restore_on_nodes(&schema, &session::schema_owner(namespace)?)?;
    }
    Ok(())
}

/// The shard to be moved.
pub struct ResolvedShard {
    pub shard: ShardId,
    pub node: NodeId,
    pub is_pooled: bool,
    pub replicas: i32,
    pub schemas: Vec<String>,
    /// Description for messages.
    pub shown: String,
}

pub fn find(subject: &Subject) -> Result<ResolvedShard> {
    let (id, shown) = match subject {
        Subject::Shard(id) => (*id, format!("shard {}", id.0)),
        Subject::Schema(name) => match catalog::any_placement_of(name)? {
            Some(placement) => (placement.shard, format!("schema \"{name}\"")),
            None => return Err(not_distributed(name)?),
        },
    };
    let shard = catalog::shards()?.into_iter().find(|shard| shard.id == id).ok_or_else(|| {
        Error::new(Code::ERRCODE_UNDEFINED_OBJECT, format!("shard {} does not exist", id.0))
            .hint("The view helios_shards lists the shards.")
    })?;
    let schemas = catalog::schemas_of(id)?;
    Ok(ResolvedShard {
        shard: id,
        node: shard.node,
        is_pooled: shard.rectangle().is_some(),
        replicas: shard.replicas,
        schemas,
        shown,
    })
}

fn not_distributed(name: &str) -> Result<Error> {
    let exists = session::namespace(name).is_some();
    Ok(match exists {
        true => Error::new(
            Code::ERRCODE_WRONG_OBJECT_TYPE,
            format!("schema \"{name}\" is not a distributed schema"),
        )
        .hint("Use helios_distribute_schema() to distribute it."),
        false => Error::new(
            Code::ERRCODE_INVALID_SCHEMA_NAME,
            format!("schema \"{name}\" does not exist"),
        )
        .hint("The view helios_schemas lists the distributed schemas."),
    })
}

pub fn check_target(node: &Node) -> Result<()> {
    node.check_ours()?;
    if matches!(node.state.as_str(), "draining" | "offline") {
        return Err(Error::new(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("node \"{}\" is {}", node.name, node.state),
        )
        .hint("Choose another node."));
    }
    // A move to an unreachable node would only wait for it.
    Endpoint::of(node.id).session().map(drop)
}

/// Ensures a single migration per shard; the shard's row stays locked until the transaction ends. A previous holder of
/// the lock may have started a move, and may have taken the schema out of the shard for it.
pub fn claim(subject: &Subject) -> Result<ResolvedShard> {
    let mut found = find(subject)?;
    loop {
        migration::lock_shard_row(found.shard, true)?;
        let claimed = found.shard;
        found = find(subject)?;
        if found.shard == claimed {
            break;
        }
    }
    match migration::of_shard(found.shard)? {
        None => Ok(found),
        Some(id) => Err(Error::new(
            Code::ERRCODE_OBJECT_IN_USE,
            format!("{} is already being moved", found.shown),
        )
        .detail(format!("Migration {id} is in progress."))
        .hint("Wait for it with helios_wait_for_migration(), cancel it with helios_cancel_migration(), or finish it \
            with helios_finish_migration().")),
    }
}

fn move_empty(found: &ResolvedShard, target: NodeId) -> Result<i64> {
    catalog::lock_shard_exclusive(found.shard);
    if !catalog::schemas_of(found.shard)?.is_empty() {
        return Err(Error::new(
            Code::ERRCODE_T_R_SERIALIZATION_FAILURE,
            format!("{} received a schema concurrently", found.shown),
        )
        .hint("Try again."));
    }
    let shard = found.shard;
    let id = migration::insert(&Kind::Move.row(shard, &[], found.node, target))?;
    catalog::move_shards(&[(shard, target)])?;
    catalog::as_owner(|| migration::advance(id, State::Finished))?;
    Ok(id)
}
