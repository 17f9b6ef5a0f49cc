//! Removes a migration's leftovers from nodes: one recorded item after the other; an item's row is deleted after the
//! object is gone.
//!
//! A schema is only dropped if its fence says that it is a copy to which nobody writes. So an incorrect or outdated row
//! does no harm.

use super::import::guard;
use crate::catalog::cleanup::CleanupItem;
use crate::catalog::migration::Migration;
use crate::catalog::{self, NodeId};
use crate::catalog::{own_session, remote_sql};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::migration::kind::Kind;
use crate::pg::ipc::worker;
use crate::remote::Session;
use crate::replication::backfill;
use crate::replication::channel;
use crate::replication::endpoint::Endpoint;
use crate::replication::endpoints::identifier;
use crate::settings;
use helios_core::migration::State;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::collections::BTreeMap;

/// Kind of the cleanup item that removes a copy of a schema: shells remain, without their rows.
pub fn copy_kind(migration: &Migration, node: NodeId) -> &'static str {
    if Kind::of(migration).uses_shells(Endpoint::of(node)) { "rows" } else { "schema" }
}

/// Removes everything.
pub fn all(migration: &Migration) -> Result<()> {
    some(migration, |_| true)
}

/// Reopens the copy on a foreign server, if it is the active one, before anything else is done.
pub fn open_foreign(migration: &Migration) -> Result<()> {
    let items = worker::attempt(|| catalog::cleanup::of_migration(migration.id))?;
    let is_guarded =
        items.iter().any(|item| Endpoint::of(item.node).is_foreign() && item.kind == "import");
    if !is_guarded || migration.outcome == Some(State::Finished) {
        return Ok(());
    }
    some(migration, |item| item.kind == "trigger")?;
    let mut source = connect(migration, migration.source)?;
    worker::attempt(|| guard::open(migration, &mut source))
}

/// Removes the chosen items. A foreign server comes last, because it may never come back.
pub fn some(migration: &Migration, chosen: impl Fn(&CleanupItem) -> bool) -> Result<()> {
    let mut items = worker::attempt(|| catalog::cleanup::of_migration(migration.id))?;
    items.sort_by_key(|item| Endpoint::of(item.node).is_foreign());
    let mut sessions: BTreeMap<NodeId, Session> = BTreeMap::new();
    // Items on an unreachable node are removed later; the others need not wait for them.
    let mut lost: BTreeMap<NodeId, Error> = BTreeMap::new();
    for item in items.iter().filter(|item| chosen(item)) {
        if lost.contains_key(&item.node) {
            continue;
        }
        failpoint::hit(failpoint::MIGRATION_CLEANUP_BEFORE)?;
        if Endpoint::of(item.node) == Endpoint::Local && item.kind == "fence" {
            worker::attempt(|| {
                catalog::fences::lift(migration.id)?;
                catalog::cleanup::remove(migration.id, item.node, &item.kind, &item.name)
            })?;
            continue;
        }
        let session = match sessions.remove(&item.node) {
            Some(session) => session,
            None => match connect(migration, item.node) {
                Err(error) if error.is_class("08") => {
                    lost.insert(item.node, error);
                    continue;
                }
                session => session?,
            },
        };
        let session = sessions.entry(item.node).or_insert(session);
        remove(migration, item, session)?;
        failpoint::hit(failpoint::MIGRATION_CLEANUP_AFTER)?;
        worker::attempt(|| {
            catalog::cleanup::remove(migration.id, item.node, &item.kind, &item.name)
        })?;
    }
    lost.into_values().next().map_or(Ok(()), Err)
}

fn connect(migration: &Migration, node: NodeId) -> Result<Session> {
    let mut session = worker::attempt(|| Endpoint::of(node).session()).map_err(|error| {
        match Endpoint::of(node) {
            Endpoint::Foreign(_) => guard::gone_for_good(migration, error),
            Endpoint::Local | Endpoint::Node(_) => error,
        }
    })?;
    if node == migration.target {
        backfill::end_stray_copies(migration, &mut session)?;
    }
    // Objects in use are retried later, because others would queue behind this lock request.
    session.query(&format!("SET lock_timeout = {}", settings::MAX_SWITCH_STALL.get()))?;
    Ok(session)
}

fn remove(migration: &Migration, item: &CleanupItem, session: &mut Session) -> Result<()> {
    let id = migration.id;
    match item.kind.as_str() {
        "subscription" => channel::drop_subscription(session, &item.name),
        "slot" => channel::drop_slot(session, &item.name),
        "publication" => {
            let drop = format!("DROP PUBLICATION IF EXISTS {}", identifier(&item.name));
            session.query(&drop).map(|_| ())
        }
        // The table may have been dropped with its schema.
        "identity" | "trigger" => match session.query(&item.name) {
            Err(error)
                if error.is(Code::ERRCODE_UNDEFINED_TABLE)
                    || error.is(Code::ERRCODE_UNDEFINED_OBJECT)
                    || error.is(Code::ERRCODE_INVALID_SCHEMA_NAME) =>
            {
                Ok(())
            }
            result => result.map(|_| ()),
        },
        "schema" => drop_schema(id, &item.name, session),
        "former" => drop_former(migration, item, session),
        "import" => guard::remove(migration, &item.name, Endpoint::of(item.node), session),
        // Only Helios generates such names.
        "aside" => {
            let drop = format!("DROP SCHEMA IF EXISTS {} CASCADE", identifier(&item.name));
            session.query(&drop).map(|_| ())
        }
        "rows" => empty_shells(migration, &item.name, session),
        "fence" => session.query(&remote_sql::lift_fences(id)).map(|_| ()),
        "marker" => session.query(&remote_sql::forget_markers(id)).map(|_| ()),
        other => Err(Error::new(
            Code::ERRCODE_DATA_CORRUPTED,
            format!("unrecognized kind \"{other}\" in helios.cleanup"),
        )),
    }
}

fn drop_schema(id: i64, schema: &str, session: &mut Session) -> Result<()> {
    let fence = session.query(&remote_sql::lock_fence(id, schema))?;
    if !fence.first().map_or(Ok(false), |row| row.flag("against_writes"))? {
        return Ok(());
    }
    session.query(&format!("DROP SCHEMA IF EXISTS {} CASCADE", identifier(schema)))?;
    Ok(())
}

/// Closes the former active copy on a node that was lost: it must not be written now that the node is back.
fn drop_former(migration: &Migration, item: &CleanupItem, session: &mut Session) -> Result<()> {
    let placement = worker::attempt(|| catalog::any_placement_of(&item.name))?;
    if placement.is_some_and(|placement| placement.node == item.node) {
        return Ok(());
    }
    session.query(&remote_sql::fence_former(migration.id, &item.name))?;
    drop_schema(migration.id, &item.name, session)
}

/// Truncates tables on this server that have become shells; tables in use are skipped.
fn empty_shells(migration: &Migration, schema: &str, session: &mut Session) -> Result<()> {
    if session.query(&own_session::find_moved_out(schema))?.is_empty() {
        return Ok(());
    }
    let mut tables = crate::replication::source_catalogs::moving(session, &[schema.to_owned()])?;
    // Clients may lock shells in any order. On a deadlock this transaction must be the victim, and a retry would lock
    // in the same order.
    if migration.tries % 2 == 1 {
        tables.reverse();
    }
    if !tables.is_empty() {
        let all: Vec<_> =
            tables.iter().map(|table| format!("ONLY {}", table.qualified())).collect();
        // Triggers must not fire.
        session.query(&format!(
            "BEGIN; SET LOCAL session_replication_role = replica; TRUNCATE {}; COMMIT",
            all.join(", ")
        ))?;
    }
    Ok(())
}
