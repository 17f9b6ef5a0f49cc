//! Change of a shard's primary during the switch: the fences on both servers, the directory, and the pending work on the
//! copy that is no longer used. All of it commits or aborts with the switch's distributed transaction.

use super::cleanup;
use super::definition::TriggerChanges;
use super::import::shells;
use crate::catalog::migration::Migration;
use crate::catalog::remote_sql::set_fence_kind;
use crate::catalog::{self, NodeId};
use crate::error::Result;
use crate::migration::kind::Kind;
use crate::pg::hooks::invalidation;
use crate::replication::endpoint::Endpoint;

/// Closes one copy and opens the other, on both servers and in the directory. On a server that cannot join the transaction,
/// a copy is closed just before this transaction commits, and opened just after.
pub fn change(
    migration: &Migration,
    (from, to): (NodeId, NodeId),
    triggers: &TriggerChanges,
) -> Result<()> {
    let (kind, id) = (Kind::of(migration), migration.id);
    let (from, to) = (Endpoint::of(from), Endpoint::of(to));
    match from {
        Endpoint::Foreign(_) => {}
        Endpoint::Local | Endpoint::Node(_) => {
            // Shells have no fence, because nobody writes to them.
            if !kind.uses_shells(from) {
                from.execute(&set_fence_kind(id, "writes"))?;
            }
            let TriggerChanges { disable, no_force_row_security, .. } = triggers;
            disable
                .iter()
                .chain(no_force_row_security)
                .try_for_each(|statement| from.execute(statement))?;
        }
    }
    let enable = match to {
        Endpoint::Foreign(_) => return shells::set_aside(migration),
        Endpoint::Local => &triggers.enable_on_shells,
        Endpoint::Node(_) => &triggers.enable,
    };
    to.execute("SET LOCAL helios.migration_session = on")?;
    if !kind.uses_shells(to) {
        to.execute(&set_fence_kind(id, "definition"))?;
    }
    let force_row_security = &triggers.force_row_security;
    enable.iter().chain(force_row_security).try_for_each(|statement| to.execute(statement))?;
    catalog::move_shards(&[(migration.shard, to.id())])?;
    detach_new_schemas(migration, from.id())?;
    if kind == Kind::Replica {
        catalog::replica::promoted(migration, None)?;
    }
    if from == Endpoint::Local || to == Endpoint::Local {
        // Invalidate plans: local tables become shells, or shells become local tables.
        migration.schemas.iter().try_for_each(|schema| invalidation::tables_changed(schema))?;
    }
    Ok(())
}

/// Records what must be removed or repaired on the copy that is no longer used.
pub fn note_old_copy(
    migration: &Migration,
    (from, to): (NodeId, NodeId),
    triggers: &TriggerChanges,
) -> Result<()> {
    let id = migration.id;
    for schema in &migration.schemas {
        catalog::cleanup::remove(id, to, cleanup::copy_kind(migration, to), schema)?;
        match (Endpoint::of(from), Endpoint::of(to)) {
            // The copy on a foreign server is never removed; the local one has been set aside.
            (Endpoint::Foreign(_), _) | (Endpoint::Local, Endpoint::Foreign(_)) => {}
            _ => catalog::cleanup::add(id, from, cleanup::copy_kind(migration, from), schema)?,
        }
    }
    let later = match (Kind::of(migration), Endpoint::of(from)) {
        // Triggers that were disabled on the old copy are enabled again when it is opened.
        (Kind::Import, _) => Some((migration.source, "trigger")),
        // Shells have the same definition as their tables: enable again what was disabled for the move.
        (_, Endpoint::Local) => Some((from, "identity")),
        (_, Endpoint::Node(_) | Endpoint::Foreign(_)) => None,
    };
    if let Some((node, kind)) = later {
        let TriggerChanges { enable, force_row_security, .. } = triggers;
        let force_row_security = force_row_security.iter().filter(|_| migration.reverse_channel);
        let mut all = enable.iter().chain(force_row_security);
        all.try_for_each(|statement| catalog::cleanup::add(id, node, kind, statement))?;
    }
    Ok(())
}

/// Keeps schemas that were added to the shard during the move in place.
pub fn detach_new_schemas(migration: &Migration, node: NodeId) -> Result<()> {
    for schema in catalog::schemas_of(migration.shard)? {
        if !migration.schemas.contains(&schema) {
            let own = catalog::dedicated_shard(&schema, node)?;
            catalog::put_schema(&schema, own)?;
        }
    }
    Ok(())
}
