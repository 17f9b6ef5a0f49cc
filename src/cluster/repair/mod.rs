//! `helios_repair_schema`: makes the shells of a schema match the definitions on its node, which has the rows.
//!
//! Nothing is changed on the node. Objects that differ are dropped on the coordinator and recreated from the node's
//! pg_dump output, together with all dependent objects of the schema; dependent views of other schemas are preserved.
//! Owners, privileges and comments are changed in place.
//!
//! Invariants: afterwards the lines of both sides are equal, or nothing has changed; and no tenants' code has run with
//! more privileges than its owner's.
//! Lock order: tables on the coordinator, then the shard's lock, then (read-only) the node.

pub mod create;
pub mod differences;
pub mod drop;
pub mod lines;
pub mod views;

use crate::catalog::{self, NodeId, fences};
use crate::error::{Error, Result};
use crate::migration::import::shells;
use crate::migration::start;
use crate::pg::catalog::privileges::RunAs;
use crate::pg::ipc::wait;
use crate::pg::session::own_settings::OwnSettings;
use crate::pg::session::{self, sql, subtransaction};
use crate::remote::{Session, own_rows};
use crate::replication::endpoint::Endpoint;
use crate::replication::endpoints::literal;
use crate::transaction;
use create::Dump;
pub use differences::Action;
use differences::{Differences, Subject, differences};
use lines::{Aspect, Line};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::collections::BTreeSet;
use std::time::Duration;
use views::Views;

/// Number of attempts to acquire the locks; see the pause between them below.
const TRIES: u32 = 30;
const PAUSE: Duration = Duration::from_millis(100);
/// A recreated object can uncover another difference.
const ROUNDS: u32 = 4;

/// Repairs the schema, or only reports what would be done. The caller has checked that the user owns the schema.
///
/// 55006 while it is being moved, 55000 if it cannot be repaired, 55P03 if its tables cannot be locked.
pub fn repair(schema: &str, dry_run: bool) -> Result<Vec<Action>> {
    let subject = subject(schema)?;
    catalog::as_owner(|| {
        let settings = [
            (c"helios.migration_session", c"on"),
            (c"client_min_messages", c"error"),
            (c"lock_timeout", c"300ms"),
            (c"jit", c"off"),
        ];
        let _own = OwnSettings::begin(&settings);
        sql::run("SET LOCAL deadlock_timeout = 20", &[])?;
        let mut node = Endpoint::of(subject.place.node).session()?;
        node.query("SET jit = off")?;
        if differences(&subject, &mut node)?.is_empty() {
            return Ok(Vec::new());
        }
        let mut tries = 1;
        loop {
            match attempt(&subject, &mut node, dry_run) {
                Err(error)
                    if tries < TRIES && crate::replication::fence::is_lock_conflict(&error) =>
                {
                    tries += 1;
                    wait::for_any(&[], PAUSE);
                }
                Err(error) if crate::replication::fence::is_lock_conflict(&error) => {
                    return Err(Error::new(
                        Code::ERRCODE_LOCK_NOT_AVAILABLE,
                        format!("could not lock the tables of schema \"{schema}\""),
                    )
                    .detail("Open transactions hold conflicting locks; see pg_locks.")
                    .hint("Try again when these transactions have ended."));
                }
                result => return result,
            }
        }
    })
}

fn subject(schema: &str) -> Result<Subject> {
    let Some(namespace) = session::namespace(schema) else {
        return Err(Error::new(
            Code::ERRCODE_INVALID_SCHEMA_NAME,
            format!("schema \"{schema}\" does not exist"),
        ));
    };
    let place = catalog::any_placement_of(schema)?.filter(|place| place.node != NodeId::LOCAL);
    let Some(place) = place else {
        return Err(Error::new(
            Code::ERRCODE_WRONG_OBJECT_TYPE,
            format!("schema \"{schema}\" has no shells"),
        )
        .detail("Only distributed schemas on other nodes have shells.")
        .hint("The view helios_schemas lists the distributed schemas."));
    };
    fences::check_definition(namespace)?;
    if let Some(id) = start::of_schema(schema)? {
        return Err(Error::new(
            Code::ERRCODE_OBJECT_IN_USE,
            format!("cannot repair schema \"{schema}\" while migration {id} moves or replicates it"),
        )
        .hint(format!(
            "To end a migration, run SELECT helios_finish_migration({id}); to remove replicas, run SELECT \
                helios_set_replicas({}, 1).",
            literal(schema)
        )));
    }
    let node = catalog::node(place.node)?;
    node.check_ours()?;
    if transaction::open_nodes().contains(&place.node) {
        return Err(Error::new(
            Code::ERRCODE_ACTIVE_SQL_TRANSACTION,
            format!(
                "helios_repair_schema() cannot run in a transaction that has used node \"{}\"",
                node.name
            ),
        )
        .hint("Run it in a separate transaction."));
    }
    Ok(Subject { schema: schema.to_owned(), place, node: node.name.clone() })
}

/// Locks and repairs in a subtransaction, so that a failed attempt releases the locks that it acquired.
fn attempt(subject: &Subject, node: &mut Session, dry_run: bool) -> Result<Vec<Action>> {
    let mut actions = None;
    let result = subtransaction::attempt(|| {
        lock(subject)?;
        node.query("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        actions = Some(locked(subject, node)?);
        match dry_run {
            true => Err(Error::new(Code::ERRCODE_SUCCESSFUL_COMPLETION, "revoked")),
            false => Ok(()),
        }
    });
    node.query("ROLLBACK")?;
    match (result, actions) {
        (Err(error), Some(actions)) if dry_run && error.is(Code::ERRCODE_SUCCESSFUL_COMPLETION) => {
            Ok(actions)
        }
        (result, actions) => result.map(|()| actions.unwrap_or_default()),
    }
}

/// Blocks all other use of the schema, including DDL, until the end of the transaction.
fn lock(subject: &Subject) -> Result<()> {
    let tables = format!(
        "SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = {} AND c.relkind IN ('r', 'p') ORDER BY c.oid",
        literal(&subject.schema)
    );
    for row in own_rows(&tables)? {
        let name = row.text("name")?;
        sql::run(&format!("LOCK TABLE ONLY {name} IN ACCESS EXCLUSIVE MODE"), &[])?;
    }
    catalog::lock_shard_exclusive(subject.place.shard);
    match catalog::any_placement_of(&subject.schema)? {
        Some(place) if place == subject.place => Ok(()),
        _ => Err(Error::new(
            Code::ERRCODE_T_R_SERIALIZATION_FAILURE,
            format!("schema \"{}\" was moved by a concurrent migration", subject.schema),
        )),
    }
}

fn locked(subject: &Subject, node: &mut Session) -> Result<Vec<Action>> {
    let mut actions: Vec<Action> = Vec::new();
    let mut views = Views::default();
    let mut dump = Dump::default();
    let mut at_first = BTreeSet::new();
    for round in 0..ROUNDS {
        let found = differences(subject, node)?;
        if round == 0 {
            at_first = found.objects();
        }
        if found.is_empty() {
            break;
        }
        let mut note = |action: Action| {
            if !actions.iter().any(|known| known.object == action.object) {
                actions.push(action);
            }
        };
        if found.of(Aspect::Definition).next().is_some() {
            drop::differing(subject, &found, &mut views, &mut note)?;
            create::missing(subject, node, &mut dump)?;
        }
        // Differences in privileges of objects that were just recreated are not reported.
        in_place(&differences(subject, node)?, &mut |action| {
            if at_first.contains(&action.object) {
                note(action);
            }
        })?;
    }
    views.restore(&subject.schema)?;
    shells::leave_checks_to_node(std::slice::from_ref(&subject.schema))?;
    let left = differences(subject, node)?;
    if left.is_empty() {
        return Ok(actions);
    }
    let told: Vec<_> =
        left.objects().iter().map(|object| format!("{object} ({})", left.how(object))).collect();
    Err(Error::new(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("could not repair schema \"{}\"", subject.schema),
    )
    .detail(format!("Still different: {}.", told.join("; ")))
    .hint("Create the same definitions on both servers. In a session with helios.migration_session = on, which only \
        superusers can set, DDL runs on that server only."))
}

/// Changes owners, then privileges, then comments: everything that does not require recreating the object.
fn in_place(found: &Differences, note: &mut impl FnMut(Action)) -> Result<()> {
    for owner in found.node_only.iter().filter(|line| line.aspect == Aspect::Owner) {
        sql::run(&format!("{}{}", owner.key, owner.line), &[])?;
        note(Action::new(&owner.object, found.how(&owner.object), &format!("now {}", owner.line)));
    }
    let is_privilege = |line: &Line| line.aspect == Aspect::Privileges;
    let taken = found.shells_only.iter().map(|here| &here.line).filter(|line| is_privilege(line));
    let given = found.node_only.iter().filter(|line| is_privilege(line));
    let taken = taken.map(|line| (line, &line.key));
    let mut all: Vec<_> = taken.chain(given.map(|line| (line, &line.line))).collect();
    // Grants with grant option must precede the grants that depend on them.
    all.sort_by_key(|(line, _)| line.role.is_some());
    for (line, statement) in all {
        granted(line.role.as_deref(), statement)?;
        note(Action::new(&line.object, found.how(&line.object), statement));
    }
    let comments: BTreeSet<&String> = found.of(Aspect::Comment).map(|line| &line.key).collect();
    for key in comments {
        let wanted =
            found.node_only.iter().find(|line| line.aspect == Aspect::Comment && line.key == *key);
        let value = wanted.map_or("NULL", |line| &line.line);
        let Some(line) = found.of(Aspect::Comment).find(|line| line.key == *key) else { continue };
        sql::run(&format!("{key}{value}"), &[])?;
        note(Action::new(&line.object, found.how(&line.object), "comment of the node"));
    }
    Ok(())
}

/// Runs a GRANT or REVOKE as the grantor. Anything revoked by cascade is detected in the next round.
fn granted(grantor: Option<&str>, statement: &str) -> Result<()> {
    let role = match grantor {
        Some(name) => {
            let select = "SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1";
            sql::one::<pgrx::pg_sys::Oid>(select, &[name.into()])?
        }
        None => None,
    };
    let _as_grantor = role.map(RunAs::role);
    sql::run(statement, &[])
}
