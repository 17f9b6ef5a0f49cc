//! Removes what a migration has left on nodes: one noted thing after the other, each gone before its note is.
//!
//! A schema is dropped only where the fence says that it is the copy which nobody writes to. So a note that is wrong,
//! or old, costs nothing.

use super::import::guard;
use crate::catalog::cleanup::CleanupItem;
use crate::catalog::migration::Migration;
use crate::catalog::on_node;
use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::pg::ipc::worker;
use crate::remote::Session;
use crate::replication::backfill;
use crate::replication::channel;
use crate::replication::endpoints::{self, identifier, literal};
use crate::settings;
use helios_core::migration::State;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::collections::BTreeMap;

/// What a copy of a schema is called in the notes: here it is the rows of its shell, which imports make with it.
pub fn copy_kind(migration: &Migration, node: NodeId) -> &'static str {
    if node == NodeId::LOCAL && !migration.is_import() { "rows" } else { "schema" }
}

/// Removes everything.
pub fn all(migration: &Migration) -> Result<()> {
    some(migration, |_| true)
}

/// Opens the copy on a foreign server, where it is the one in use, before anything else is done.
pub fn open_foreign(migration: &Migration) -> Result<()> {
    let debts = worker::attempt(|| catalog::cleanup::of_migration(migration.id))?;
    let is_guarded = debts.iter().any(|debt| debt.node.is_outside() && debt.kind == "import");
    if !is_guarded || migration.outcome == Some(State::Finished) {
        return Ok(());
    }
    some(migration, |debt| debt.kind == "trigger")?;
    let mut source = connect(migration, migration.source)?;
    worker::attempt(|| guard::open(migration, &mut source))
}

/// Removes what is chosen. A foreign server comes last: it may never come back.
pub fn some(migration: &Migration, chosen: impl Fn(&CleanupItem) -> bool) -> Result<()> {
    let mut debts = worker::attempt(|| catalog::cleanup::of_migration(migration.id))?;
    debts.sort_by_key(|debt| debt.node.is_outside());
    let mut sessions: BTreeMap<NodeId, Session> = BTreeMap::new();
    // What is on a node that does not answer is removed when it does; the others need not wait for that.
    let mut lost: BTreeMap<NodeId, Error> = BTreeMap::new();
    for debt in debts.iter().filter(|debt| chosen(debt)) {
        if lost.contains_key(&debt.node) {
            continue;
        }
        failpoint::hit(failpoint::MIGRATION_CLEANUP_BEFORE)?;
        if debt.node == NodeId::LOCAL && debt.kind == "fence" {
            worker::attempt(|| {
                catalog::fences::lift(migration.id)?;
                catalog::cleanup::remove(migration.id, debt.node, &debt.kind, &debt.name)
            })?;
            continue;
        }
        let session = match sessions.remove(&debt.node) {
            Some(session) => session,
            None => match connect(migration, debt.node) {
                Err(error) if error.is_class("08") => {
                    lost.insert(debt.node, error);
                    continue;
                }
                session => session?,
            },
        };
        let session = sessions.entry(debt.node).or_insert(session);
        remove(migration, debt, session)?;
        failpoint::hit(failpoint::MIGRATION_CLEANUP_AFTER)?;
        worker::attempt(|| {
            catalog::cleanup::remove(migration.id, debt.node, &debt.kind, &debt.name)
        })?;
    }
    lost.into_values().next().map_or(Ok(()), Err)
}

fn connect(migration: &Migration, node: NodeId) -> Result<Session> {
    let mut session = worker::attempt(|| endpoints::session(node)).map_err(|error| {
        if node.is_outside() { guard::gone_for_good(migration, error) } else { error }
    })?;
    if node == migration.target {
        backfill::end_stray_copies(migration, &mut session)?;
    }
    // What is in use is tried again later: those who use it next wait behind this.
    session.query(&format!("SET lock_timeout = {}", settings::MAX_SWITCH_STALL.get()))?;
    Ok(session)
}

fn remove(migration: &Migration, debt: &CleanupItem, session: &mut Session) -> Result<()> {
    let id = migration.id;
    match debt.kind.as_str() {
        "subscription" => channel::drop_subscription(session, &debt.name),
        "slot" => channel::drop_slot(session, &debt.name),
        "publication" => {
            let drop = format!("DROP PUBLICATION IF EXISTS {}", identifier(&debt.name));
            session.query(&drop).map(|_| ())
        }
        // The table may be gone with its schema.
        "identity" | "trigger" => match session.query(&debt.name) {
            Err(error)
                if error.is(Code::ERRCODE_UNDEFINED_TABLE)
                    || error.is(Code::ERRCODE_UNDEFINED_OBJECT)
                    || error.is(Code::ERRCODE_INVALID_SCHEMA_NAME) =>
            {
                Ok(())
            }
            result => result.map(|_| ()),
        },
        "schema" => drop_schema(id, &debt.name, session),
        "former" => drop_former(migration, debt, session),
        "import" => guard::remove(migration, &debt.name, debt.node.is_outside(), session),
        // The name is one that only we give.
        "aside" => {
            let drop = format!("DROP SCHEMA IF EXISTS {} CASCADE", identifier(&debt.name));
            session.query(&drop).map(|_| ())
        }
        "rows" => empty_shells(migration, &debt.name, session),
        "fence" => session.query(&on_node::lift_fences(id)).map(|_| ()),
        "marker" => session.query(&on_node::forget_markers(id)).map(|_| ()),
        other => Err(Error::new(
            Code::ERRCODE_DATA_CORRUPTED,
            format!("helios.cleanup holds an unknown kind \"{other}\""),
        )),
    }
}

fn drop_schema(id: i64, schema: &str, session: &mut Session) -> Result<()> {
    if session.query(&on_node::find_write_fence(id, schema))?.is_empty() {
        return Ok(());
    }
    session.query(&format!("DROP SCHEMA IF EXISTS {} CASCADE", identifier(schema)))?;
    Ok(())
}

/// What was in use on a node that was lost, and is not any more: nobody is to write it now that the node is back.
fn drop_former(migration: &Migration, debt: &CleanupItem, session: &mut Session) -> Result<()> {
    let home = worker::attempt(|| catalog::home_of(&debt.name))?;
    if home.is_some_and(|home| home.node == debt.node) {
        return Ok(());
    }
    session.query(&on_node::fence_former(migration.id, &debt.name))?;
    drop_schema(migration.id, &debt.name, session)
}

/// Takes the rows out of tables here that have become shells; those that are in use keep theirs.
fn empty_shells(migration: &Migration, schema: &str, session: &mut Session) -> Result<()> {
    let is_shell = format!(
        "SELECT FROM helios.schema c JOIN helios.shard s ON s.id = c.shard WHERE c.name = {} AND s.node <> 0",
        literal(schema)
    );
    if session.query(&is_shell)?.is_empty() {
        return Ok(());
    }
    let mut tables = crate::replication::tables::moving(session, &[schema.to_owned()])?;
    // Clients lock shells in orders of their own. This gives way where that is a deadlock, and would again in the same
    // order.
    if migration.tries % 2 == 1 {
        tables.reverse();
    }
    if !tables.is_empty() {
        let all: Vec<_> =
            tables.iter().map(|table| format!("ONLY {}", table.qualified())).collect();
        // No trigger is to fire.
        session.query(&format!(
            "BEGIN; SET LOCAL session_replication_role = replica; TRUNCATE {}; COMMIT",
            all.join(", ")
        ))?;
    }
    Ok(())
}
