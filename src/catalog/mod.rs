//! The directory: which schema is on which node. Reads the catalogs in schema `helios` into this backend's cache, and
//! is the only module that changes them.
//!
//! Invariant: the result of a function here was true of the catalogs, including own uncommitted changes, at some time
//! during the call. Every committed change increments the shared generation number, which every lookup compares first.
//! A result stays true for a transaction only under the shard's lock: [`lock_shard_shared`], then read again.
//!
//! Lock order: the cluster's lock, reference tables, shard locks by ascending shard ID, then rows of `helios.node`,
//! `helios.shard`, `helios.schema`.

mod cache;
pub mod cleanup;
mod cluster;
pub mod coordinator;
pub mod fences;
pub mod foreign_server;
pub mod gate;
mod lookup;
pub mod migration;
mod migration_progress;
pub mod migration_table;
pub mod own_objects;
pub mod own_session;
pub mod placement_strategy;
pub mod proof;
pub mod remote_sql;
pub mod replica;
mod rows;
mod shards;
mod store;
mod tables;
pub mod transaction;
pub mod trigger_functions;
pub mod verification;
mod version;

pub use cache::{catalogs_owner, exists, generation};
pub use cluster::{
    cluster_id, coordinator_address, in_use, is_node, node, node_named, nodes, remote_nodes,
};
pub use lookup::{
    any_placement, any_placement_of, has_visible_copies, is_reference, placement, placement_of,
    replicas,
};
pub use rows::{Address, Node, NodeId, Placement, Replica, Shard, ShardId};
pub use shards::{
    Resident, forget_merge, join_dedicated, join_shards, merges_due, migration_rate,
    migrations_under_way, nodes_of_schemas, note_merge, residents, schema_names, schemas_like,
    set_node_state, set_replicas, shard, shards, shards_of_schemas, split_shard,
};
pub use store::{
    NewNode, REFERENCES, ReferenceTable, add_node, add_reference, adopt_nodes, as_owner,
    dedicated_shard, exclude_local_node, forget_reference, forget_schema, insert_schema,
    move_shards, moving_schemas, node_in_snapshot, password, put_schema, references, remove_node,
    rename_schema, schemas_of, schemas_on, set_moving,
};
pub use version::is_refusal as is_version_refusal;

use crate::error::Result;
use crate::pg::ipc::lock;
use crate::shared::directory_version;
use pgrx::pg_sys::Oid;
use std::time::Duration;

/// Locks the shard in share mode until the transaction ends. The caller reads its placement again afterwards.
pub fn lock_shard_shared(shard: ShardId) {
    if let Some(table) = lookup::shard_table() {
        lock::object(table, shard.0 as u32, lock::Mode::Share);
    }
}

/// Releases all locks acquired by [`lock_shard_shared`].
pub fn unlock_shard_shared(shard: ShardId) {
    if let Some(table) = lookup::shard_table() {
        lock::release(table, shard.0 as u32, lock::Mode::Share);
    }
}

/// Locks the shard exclusively until the transaction ends.
pub fn lock_shard_exclusive(shard: ShardId) {
    if let Some(table) = lookup::shard_table() {
        lock::object(table, shard.0 as u32, lock::Mode::Exclusive);
    }
}

/// The class of the shards' object locks.
pub fn lock_catalog() -> Option<Oid> {
    lookup::shard_table()
}

/// Like [`lock_shard_exclusive`] for several shards; false, with none locked, after the timeout `wait`, during which
/// new statements wait, too.
pub fn lock_shards_within(shards: &[ShardId], wait: Duration) -> Result<bool> {
    let mut ids: Vec<u32> = shards.iter().map(|shard| shard.0 as u32).collect();
    ids.sort_unstable();
    match lookup::shard_table() {
        Some(table) => lock::exclusive_within(table, &ids, wait),
        None => Ok(true),
    }
}

/// Serializes transactions that write a reference table; held until the transaction ends on all nodes.
pub fn lock_reference_exclusive(relation: Oid) {
    if let Some(table) = lookup::reference_catalog() {
        lock::object(table, relation.to_u32(), lock::Mode::Exclusive);
    }
}

/// Waits for writers of a reference table, and blocks new ones until the transaction ends.
pub fn lock_reference_shared(relation: Oid) {
    if let Some(table) = lookup::reference_catalog() {
        lock::object(table, relation.to_u32(), lock::Mode::Share);
    }
}

/// Blocks adding and removing nodes until the transaction ends: DDL sent to all nodes would miss one that is just being
/// added.
pub fn lock_cluster_shared() {
    if let Some(table) = lookup::shard_table() {
        lock::object(table, 0, lock::Mode::Share);
    }
}

/// Serializes changes of the cluster (nodes, placement of empty shards); held until the transaction ends.
pub fn lock_cluster() {
    if let Some(table) = lookup::shard_table() {
        lock::object(table, 0, lock::Mode::Exclusive);
    }
}

/// Records that the current transaction has changed the catalogs.
pub fn changed() {
    directory_version::directory_changed();
}
