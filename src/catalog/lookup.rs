//! Placement of schemas, and other information in the directory about schemas, tables and shards, from the backend's cache.

use super::cache::{Catalogs, Tables, cached, catalogs, fill, tables};
use super::cluster::node;
use super::rows::{Fence, NodeId, Placement, Replica, ShardId};
use super::tables::{ReferenceTableRow, ReplicaRow, SchemaRow, ShardNodeRow};
use crate::error::{Error, Result};
use crate::pg::catalog::table::Column;
use crate::pg::catalog::value::{Name, RegClass};
use crate::pg::session::{self, xact};
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode as Code};
use std::rc::Rc;

pub(super) fn shard_table() -> Option<Oid> {
    tables().map(|tables| tables.shard.oid())
}

/// Placement of the schema; None if it is not distributed or is on this server.
#[inline]
pub fn placement(namespace: Oid) -> Result<Option<Placement>> {
    Ok(elsewhere(any_placement(namespace)?))
}

/// Placement of the schema, including this server; None if it is not distributed.
#[inline]
pub fn any_placement(namespace: Oid) -> Result<Option<Placement>> {
    if let Some(placement) = cached(|cache| cache.placements.get(&namespace).copied()) {
        return Ok(placement);
    }
    let tables = match catalogs() {
        Catalogs::Known(tables) => tables,
        Catalogs::Other(other) => return other.check_schema(namespace).map(|()| None),
        Catalogs::Missing => return Ok(None),
    };
    fill(
        || match session::namespace_name(namespace) {
            Some(name) => read_placement(&tables, &name),
            None => Ok(None),
        },
        |cache, placement| {
            cache.placements.insert(namespace, placement);
        },
    )
}

/// Whether the relation is a reference table, whose rows are on every node.
#[inline]
pub fn is_reference(relation: Oid) -> Result<bool> {
    if let Some(known) = cached(|cache| cache.references.get(&relation).copied()) {
        return Ok(known);
    }
    let tables = match catalogs() {
        Catalogs::Known(tables) => tables,
        Catalogs::Other(other) => return other.check_reference(relation).map(|()| false),
        Catalogs::Missing => return Ok(false),
    };
    fill(
        || {
            const RELATION: Column<ReferenceTableRow, RegClass> = Column::named("relation");
            Ok(tables.reference.first(&[RELATION.equals(RegClass(relation))])?.is_some())
        },
        |cache, is| {
            cache.references.insert(relation, is);
        },
    )
}

/// Whether the copies of a reference table have its rows for the current statement: a transaction with one snapshot for all
/// statements does not see the rows of a table that became a reference table later.
pub fn has_visible_copies(relation: Oid) -> Result<bool> {
    if !is_reference(relation)? || !xact::has_one_snapshot() {
        return is_reference(relation);
    }
    const RELATION: Column<ReferenceTableRow, RegClass> = Column::named("relation");
    let Some(tables) = tables() else { return Ok(false) };
    let seen = tables.reference.as_of_transaction();
    Ok(seen.first(&[RELATION.equals(RegClass(relation))])?.is_some())
}

/// The fences on this server. Empty if the extension is not installed or the catalogs cannot be read.
pub(super) fn fences() -> Result<Rc<Vec<Fence>>> {
    if let Some(fences) = cached(|cache| cache.fences.clone()) {
        return Ok(fences);
    }
    let Some(tables) = tables() else { return Ok(Rc::default()) };
    fill(
        || Ok(Rc::new(tables.fence.all()?.into_iter().filter_map(Fence::from_row).collect())),
        |cache, fences| cache.fences = Some(fences),
    )
}

/// Replicas of a shard that are complete and follow the primary.
pub fn replicas(shard: ShardId) -> Result<Rc<Vec<Replica>>> {
    if let Some(known) = cached(|cache| cache.replicas.get(&shard).cloned()) {
        return Ok(known);
    }
    let Some(tables) = tables() else { return Ok(Rc::default()) };
    fill(
        || {
            const SHARD: Column<ReplicaRow, i64> = Column::named("shard");
            let replica = |row: ReplicaRow| {
                Ok(Replica {
                    migration: row.migration,
                    node: NodeId(row.node),
                    name: node(NodeId(row.node))?.name.clone(),
                    slots: row.slots,
                })
            };
            let rows = tables.replica.rows(&[SHARD.equals(shard.0)])?.into_iter();
            Ok(Rc::new(rows.map(replica).collect::<Result<_>>()?))
        },
        |cache, replicas| {
            cache.replicas.insert(shard, replicas);
        },
    )
}

pub(super) fn reference_catalog() -> Option<Oid> {
    tables().map(|tables| tables.reference.oid())
}

/// Placement of the named schema; None if it is not distributed or is on this server.
pub fn placement_of(schema: &str) -> Result<Option<Placement>> {
    Ok(elsewhere(any_placement_of(schema)?))
}

/// Placement of the named schema, including this server; None if it is not distributed.
pub fn any_placement_of(schema: &str) -> Result<Option<Placement>> {
    match catalogs() {
        Catalogs::Known(tables) => read_placement(&tables, schema),
        Catalogs::Other(other) => other.check_name(schema).map(|()| None),
        Catalogs::Missing => Ok(None),
    }
}

fn elsewhere(placement: Option<Placement>) -> Option<Placement> {
    placement.filter(|placement| placement.node != NodeId::LOCAL)
}

fn read_placement(tables: &Tables, schema: &str) -> Result<Option<Placement>> {
    const NAME: Column<SchemaRow, Name> = Column::named("name");
    const ID: Column<ShardNodeRow, i64> = Column::named("id");
    let row = tables.schema.first(&[NAME.equals(Name(schema.to_owned()))])?;
    let Some(SchemaRow { shard }) = row else { return Ok(None) };
    let ShardNodeRow { node } = tables.shard.first(&[ID.equals(shard)])?.ok_or_else(|| {
        Error::new(
            Code::ERRCODE_DATA_CORRUPTED,
            format!("shard {shard} of schema \"{schema}\" is not in the directory"),
        )
    })?;
    Ok(Some(Placement { shard: ShardId(shard), node: NodeId(node) }))
}
