//! This backend's cache of the directory, filled on demand: its contents, and when it is discarded. The lookups are in
//! `cluster.rs` and `lookup.rs`.

use super::rows::{Fence, Node, Placement, Replica, ShardId};
use super::tables::{
    ClusterRow, FenceRow, NodeRow, ReferenceTableRow, ReplicaRow, SchemaRow, ShardNodeRow,
};
use super::version::{self, Other};
use crate::error::{Error, Result};
use crate::pg::catalog::table::Table;
use crate::pg::catalog::{extension, privileges};
use crate::pg::hooks::invalidation;
use crate::pg::session;
use crate::shared::directory_version;
use helios_core::generation::Generational;
use pgrx::pg_sys::{InvalidOid, Oid, errcodes::PgSqlErrorCode as Code};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// The tables and the indexes used to read them.
#[derive(Clone, Copy)]
pub(super) struct Tables {
    pub(super) node: Table<NodeRow>,
    pub(super) shard: Table<ShardNodeRow>,
    pub(super) schema: Table<SchemaRow>,
    pub(super) reference: Table<ReferenceTableRow>,
    pub(super) fence: Table<FenceRow>,
    pub(super) replica: Table<ReplicaRow>,
}

impl Tables {
    fn find() -> Option<Self> {
        Some(Self {
            node: Table::find_by_index("node_pkey")?,
            shard: Table::find_by_index("shard_pkey")?,
            schema: Table::find_by_index("schema_pkey")?,
            reference: Table::find_by_index("reference_table_pkey")?,
            fence: Table::find()?,
            replica: Table::find_by_index("replica_shard")?,
        })
    }

    /// Whether all have the expected columns.
    fn match_library(&self) -> bool {
        let cluster = Table::<ClusterRow>::find();
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
pub(super) enum Catalogs {
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

/// Results of earlier lookups.
#[derive(Default)]
pub(super) struct Cache {
    catalogs: Option<Catalogs>,
    pub(super) nodes: Option<Rc<Vec<Rc<Node>>>>,
    pub(super) placements: HashMap<Oid, Option<Placement>>,
    pub(super) references: HashMap<Oid, bool>,
    pub(super) fences: Option<Rc<Vec<Fence>>>,
    pub(super) replicas: HashMap<ShardId, Rc<Vec<Replica>>>,
}

thread_local! {
    static CACHE: RefCell<Generational<(u64, u64), Cache>> = RefCell::default();
}

/// Looks something up in the cache, which is discarded first if it may be outdated.
pub(super) fn cached<T>(look: impl FnOnce(&Cache) -> Option<T>) -> Option<T> {
    let now = directory_version::current();
    CACHE.with_borrow_mut(|cache| look(cache.current(now)))
}

/// Reads with `read` and keeps the result, unless it was invalidated in the meantime.
pub(super) fn fill<T: Clone>(
    read: impl FnOnce() -> Result<T>,
    keep: impl FnOnce(&mut Cache, T),
) -> Result<T> {
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

/// The current state of the catalogs.
pub(super) fn catalogs() -> Catalogs {
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
pub(super) fn tables() -> Option<Tables> {
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

/// The tables; 55000 if the extension is not installed, or its version is not supported by this library.
pub(super) fn needed_tables() -> Result<Tables> {
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

/// Owner of the catalogs: changes to them are made as this role.
pub fn catalogs_owner() -> Result<Oid> {
    privileges::owner_of_relation(needed_tables()?.node.oid())
}
