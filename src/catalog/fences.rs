//! Fences: schemas that must not be changed on this server while a migration needs them unchanged.
//!
//! A fence is visible to every session that acquires a lock on the relation after it was committed, even if it was committed
//! as a prepared transaction: it is propagated as an invalidation of the table's own relcache entry, which every
//! backend processes when it acquires a lock. So a migration that commits a fence and then waits for the locks of
//! writers has waited for every session that has not seen it.

use super::cache;
use super::lookup;
use super::rows::Fence;
use crate::error::{Error, Result};
use crate::pg::catalog::names;
use crate::pg::ipc::worker;
use crate::pg::session::sql;
use crate::settings::MIGRATION_SESSION;
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode as Code};
use std::rc::Rc;

/// Whether a schema is fenced against this backend. A migration's own sessions and apply workers are exempt.
#[inline]
pub fn is_up() -> Result<bool> {
    let any = match cache::other() {
        Some(other) => other.has_fences(),
        None => !fences()?.is_empty(),
    };
    Ok(any && !MIGRATION_SESSION.get() && !worker::applies_changes())
}

fn fences() -> Result<Rc<Vec<Fence>>> {
    lookup::fences()
}

/// 55006 if the schema's definitions must not be changed.
pub fn check_definition(namespace: Oid) -> Result<()> {
    if !is_up()? {
        return Ok(());
    }
    if let Some(other) = cache::other() {
        return other.check_fence(namespace);
    }
    match fences()?.iter().find(|fence| fence.namespace == namespace) {
        Some(fence) if fence.keeps => Err(Error::new(
            Code::ERRCODE_OBJECT_IN_USE,
            format!("cannot change schema \"{}\" while it has replicas on other nodes", fence.schema),
        )
        .detail("DDL and TRUNCATE are not replicated.")
        .hint(format!(
            "Remove the replicas with SELECT helios_set_replicas({}, 1) on the coordinator (or for its shard), and \
                create them again after the change.",
            helios_core::quote::literal(&fence.schema)
        ))),
        Some(fence) => Err(refusal(
            format!(
                "cannot change schema \"{}\" while migration {} moves it",
                fence.schema, fence.migration
            ),
            fence.migration,
        )),
        None => Ok(()),
    }
}

/// 55006 if one of the relations, or their partitions, must not be written.
pub fn check_writes(relations: &mut dyn Iterator<Item = Oid>) -> Result<()> {
    if !is_up()? {
        return Ok(());
    }
    if let Some(other) = cache::other() {
        let with_partitions = relations.flat_map(names::inheritors);
        let mut namespaces = with_partitions.filter_map(names::relation_namespace);
        return namespaces.try_for_each(|namespace| other.check_fence(namespace));
    }
    let fences = fences()?;
    let fenced = |relation| {
        let namespace = names::relation_namespace(relation)?;
        fences.iter().find(|fence| fence.writes && fence.namespace == namespace)
    };
    for relation in relations {
        // Rows are routed to partitions during execution.
        let found = match names::is_partitioned(relation) {
            true => names::inheritors(relation).into_iter().find_map(fenced),
            false => fenced(relation),
        };
        if let Some(fence) = found {
            return Err(Error::new(
                Code::ERRCODE_OBJECT_IN_USE,
                format!(
                    "cannot write to schema \"{}\": it is a copy maintained by migration {}",
                    fence.schema, fence.migration
                ),
            )
            .hint("Connect through the coordinator, which knows where the schema lives."));
        }
    }
    Ok(())
}

/// Removes a migration's fences on this server.
pub fn lift(migration: i64) -> Result<()> {
    sql::run("DELETE FROM helios.fence WHERE migration = $1", &[migration.into()])
}

fn refusal(message: String, migration: i64) -> Error {
    Error::new(Code::ERRCODE_OBJECT_IN_USE, message)
        .detail("DDL and TRUNCATE are not replicated between the two copies.")
        .hint(format!(
            "Wait for the migration to end, or cancel it with SELECT helios_cancel_migration({migration})."
        ))
}
