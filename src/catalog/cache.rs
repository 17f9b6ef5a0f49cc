//! This backend's cache of the directory, filled on demand.

use super::rows::{Fence, Node, NodeId, Placement, Replica, ShardId};
use super::tables::{
    ClusterRow, FenceRow, NodeRow, ReferenceTableRow, ReplicaRow, SchemaRow, ShardNodeRow,
};
use super::version::{self, Other};
use crate::error::{Error, Result};
use crate::pg::catalog::table::{Column, Table};
use crate::pg::catalog::value::{Name, RegClass};
use crate::pg::catalog::{extension, privileges};
use crate::pg::hooks::invalidation;
use crate::pg::ipc::worker;
use crate::pg::session;
use crate::settings::MIGRATION_SESSION;
use crate::shared::directory_version;
use helios_core::generation::Generational;
use pgrx::pg_sys::{InvalidOid, Oid, errcodes::PgSqlErrorCode as Code};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// The tables and the indexes used to read them.
#[derive(Clone, Copy)]
struct Tables {
    node: Table<NodeRow>,
    shard: Table<ShardNodeRow>,
    schema: Table<SchemaRow>,
    reference: Table<ReferenceTableRow>,
    fence: Table<FenceRow>,
    replica: Table<ReplicaRow>,
}

impl Tables {
    fn find() -> Option<Self> {
        Some(Self {
            node: Table::find("node_pkey")?,
            shard: Table::find("shard_pkey")?,
            schema: Table::find("schema_pkey")?,
            reference: Table::find("reference_table_pkey")?,
            fence: Table::find("")?,
            replica: Table::find("replica_shard")?,
        })
    }

    /// Whether all have the expected columns.
    fn match_library(&self) -> bool {
        let cluster = Table::<ClusterRow>::find("");
        cluster.is_some_and(Table::fits)
            && self.node.fits()
            && self.shard.fits()
            && self.schema.fits()
            && self.reference.fits()
            && self.fence.fits()
            && self.replica.fits()
    }
}

/// The state of Helios' catalogs in this database.
#[derive(Clone)]
enum Catalogs {
    Missing,
    /// A version that this library supports.
    Known(Tables),
    Other(Rc<Other>),
}

impl Catalogs {
    fn find() -> Self {
        match version::other() {
            Some(other) => Self::Other(Rc::new(other)),
            None => Tables::find().map_or(Self::Missing, Self::Known),
        }
    }
}

#[derive(Default)]
struct Cache {
    catalogs: Option<Catalogs>,
    nodes: Option<Rc<Vec<Rc<Node>>>>,
    placements: HashMap<Oid, Option<Placement>>,
    references: HashMap<Oid, bool>,
    fences: Option<Rc<Vec<Fence>>>,
    replicas: HashMap<ShardId, Rc<Vec<Replica>>>,
}

thread_local! {
    static CACHE: RefCell<Generational<(u64, u64), Cache>> = RefCell::default();
}

/// Looks something up in the cache, which is discarded first if it may be outdated.
fn cached<T>(look: impl FnOnce(&Cache) -> Option<T>) -> Option<T> {
    let now = directory_version::current();
    CACHE.with_borrow_mut(|cache| look(cache.current(now)))
}

/// Reads with `read` and keeps the result, unless it was invalidated in the meantime.
fn fill<T: Clone>(read: impl FnOnce() -> Result<T>, keep: impl FnOnce(&mut Cache, T)) -> Result<T> {
    let before = directory_version::current();
    let value = read()?;
    let after = directory_version::current();
    CACHE.with_borrow_mut(|cache| {
        if let Some(cache) = cache.unchanged(before, after) {
            keep(cache, value.clone());
        }
    });
    Ok(value)
}

fn catalogs() -> Catalogs {
    if let Some(known) = cached(|cache| cache.catalogs.clone()) {
        return known;
    }
    if !session::can_read_catalogs() {
        return Catalogs::Missing;
    }
    // An extension script is running, and its final state is not known yet.
    if extension::in_script_of(version::EXTENSION) {
        return Tables::find()
            .filter(Tables::match_library)
            .map_or(Catalogs::Missing, Catalogs::Known);
    }
    // While the relevant relations are unknown, every invalidation counts.
    invalidation::watch([InvalidOid; 6]);
    let found = fill(|| Ok(Catalogs::find()), |cache, found| cache.catalogs = Some(found));
    let found = found.unwrap_or(Catalogs::Missing);
    if let Catalogs::Known(t) = &found {
        let version = pgrx::pg_sys::ExtensionRelationId; // see `gate::changed`
        let oids = [t.node.oid(), t.shard.oid(), t.schema.oid(), t.reference.oid(), t.fence.oid()];
        let [node, shard, schema, reference, fence] = oids;
        invalidation::watch([node, shard, schema, reference, fence, version]);
    }
    found
}

/// The tables, if this library supports their version.
fn tables() -> Option<Tables> {
    match catalogs() {
        Catalogs::Known(tables) => Some(tables),
        Catalogs::Missing | Catalogs::Other(_) => None,
    }
}

/// The catalogs, if this library does not support their version.
#[inline]
pub(super) fn other() -> Option<Rc<Other>> {
    match catalogs() {
        Catalogs::Other(other) => Some(other),
        Catalogs::Missing | Catalogs::Known(_) => None,
    }
}

fn needed_tables() -> Result<Tables> {
    match catalogs() {
        Catalogs::Known(tables) => Ok(tables),
        Catalogs::Other(other) => Err(other.refusal()),
        Catalogs::Missing => Err(Error::new(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "extension \"helios\" is not installed in this database",
        )
        .hint("Run CREATE EXTENSION helios.")),
    }
}

/// Changes whenever the placement of a schema may have changed.
#[inline]
pub fn generation() -> (u64, u64) {
    directory_version::current()
}

/// Whether this database has the extension, in any version.
pub fn exists() -> bool {
    !matches!(catalogs(), Catalogs::Missing)
}

/// Whether this database has the extension and other nodes, so that something may be elsewhere. Always false for the
/// sessions of a migration, and for functions called while changes are applied to a copy. True if the nodes cannot be
/// read, so that whoever asks for one gets that error, and no shell is mistaken for an empty table. While an extension
/// script creates the cluster, there are no nodes.
pub fn in_use() -> bool {
    !MIGRATION_SESSION.get()
        && !worker::applies_changes()
        && match catalogs() {
            Catalogs::Known(_) => nodes().map_or_else(
                |_| {
                    !matches!(
                        Table::<ClusterRow>::find("").map(|table| table.first(&[])),
                        Some(Ok(None))
                    )
                },
                |nodes| nodes.iter().any(|node| !node.is_local),
            ),
            // Access to Helios' own objects will raise the error.
            Catalogs::Other(other) => other.has_nodes(),
            Catalogs::Missing => false,
        }
}

/// Owner of the catalogs: changes to them are made as this role.
pub fn catalogs_owner() -> Result<Oid> {
    privileges::owner_of_relation(needed_tables()?.node.oid())
}

pub(super) fn shard_table() -> Option<Oid> {
    tables().map(|tables| tables.shard.oid())
}

/// All nodes, by ID.
pub fn nodes() -> Result<Rc<Vec<Rc<Node>>>> {
    if let Some(nodes) = cached(|cache| cache.nodes.clone()) {
        return Ok(nodes);
    }
    let tables = needed_tables()?;
    fill(
        || {
            let cluster = own_cluster()?;
            let rows = tables.node.all()?.into_iter();
            let mut nodes: Vec<Rc<Node>> =
                rows.map(|row| Rc::new(Node::from_row(row, cluster))).collect();
            nodes.sort_by_key(|node| node.id);
            Ok(Rc::new(nodes))
        },
        |cache, nodes| cache.nodes = Some(nodes),
    )
}

/// The other nodes of this cluster, by ID.
pub fn remote_nodes() -> Result<Vec<Rc<Node>>> {
    let ours = |node: &&Rc<Node>| !node.is_local && !node.is_foreign;
    Ok(nodes()?.iter().filter(ours).cloned().collect())
}

/// The node with this ID; 42704 if it does not exist.
pub fn node(id: NodeId) -> Result<Rc<Node>> {
    nodes()?.iter().find(|node| node.id == id).cloned().ok_or_else(|| {
        Error::new(Code::ERRCODE_UNDEFINED_OBJECT, format!("node {} does not exist", id.0))
    })
}

/// The node with this name; 42704 if it does not exist.
pub fn node_named(name: &str) -> Result<Rc<Node>> {
    let nodes = nodes()?;
    nodes.iter().find(|node| node.name == name).cloned().ok_or_else(|| {
        let known: Vec<_> = nodes.iter().map(|node| format!("\"{}\"", node.name)).collect();
        Error::new(Code::ERRCODE_UNDEFINED_OBJECT, format!("node \"{name}\" does not exist"))
            .hint(format!("Nodes of this cluster: {}.", known.join(", ")))
    })
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

/// The cluster's ID, which identifies its nodes and prepared transactions.
pub fn cluster_id() -> Result<i64> {
    Ok(cluster_row()?.id)
}

/// Like [`cluster_id`]; None in a copy of the database in which the cluster was created.
fn own_cluster() -> Result<Option<i64>> {
    let row = cluster_row()?;
    Ok((row.database.to_u32() == session::database_id()).then_some(row.id))
}

fn cluster_row() -> Result<ClusterRow> {
    needed_tables()?;
    let row = Table::find("").map_or(Ok(None), |table| table.first(&[]))?;
    row.ok_or_else(|| Error::new(Code::ERRCODE_DATA_CORRUPTED, "table helios.cluster is empty"))
}

/// Whether this database is a node of a cluster.
pub fn is_node() -> Result<bool> {
    match catalogs() {
        Catalogs::Known(_) => Ok(node_of()?.is_some()),
        Catalogs::Other(other) => Ok(other.is_node()),
        Catalogs::Missing => Ok(false),
    }
}

/// The address of this node's coordinator, as registered by it.
pub fn coordinator_address() -> Result<Option<String>> {
    match catalogs() {
        Catalogs::Known(_) => Ok(node_of()?.and_then(|row| row.coordinator)),
        Catalogs::Other(_) | Catalogs::Missing => Ok(None),
    }
}

/// The row of the cluster that has this database as a node. A copy of a node's database is not a node.
fn node_of() -> Result<Option<ClusterRow>> {
    let row: Option<ClusterRow> = Table::find("").map_or(Ok(None), |table| table.first(&[]))?;
    let is_ours = |row: &ClusterRow| row.database.to_u32() == session::database_id();
    Ok(row.filter(|row| row.node_of.is_some() && is_ours(row)))
}
