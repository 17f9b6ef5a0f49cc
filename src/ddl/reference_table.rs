//! Reference tables: every server has the complete table, so that tenants can join with it and refer to it locally.
//!
//! The coordinator's copy is the table itself, with its triggers and sequences. The copies on the nodes have what
//! tenants need for reading and foreign keys: columns, keys, indexes, checks, owner and privileges.
//!
//! Invariant: a committed transaction leaves the same rows on all nodes. Rows are copied by [`create`] and
//! [`copy_to_node`], and by the trigger of the coordinator's table.
//! Lock order: the cluster's lock, the table, its lock as a reference table.

use super::follow_up::FollowUp;
use super::local_only::locally;
use super::reference_copy::copy;
pub use super::reference_copy::{digest, digest_of, digest_there, require_reader};
use super::reference_rules::{check_kind, check_shape, own_table, unsupported};
use super::statement_scope::{StatementScope, Touched, begin};
use crate::catalog::{self, Node, NodeId, ReferenceTable};
use crate::error::{Error, Result};
use crate::pg::catalog::names;
use crate::pg::catalog::object::{self, Belongs};
use crate::pg::catalog::privileges::{self, RunAs};
use crate::pg::catalog::trigger_state::{self, Fires};
use crate::pg::hooks::object_access::Event;
use crate::pg::hooks::utility::Step;
use crate::pg::session::own_settings::OwnSettings;
use crate::pg::session::{self, sql};
use crate::pg::tree::statement::Statement;
use crate::remote::Session;
use crate::transaction::{self, Mode};
use helios_core::quote;
use pgrx::pg_sys::{NodeTag, Oid, errcodes::PgSqlErrorCode as Code};
use std::rc::Rc;

/// Names of the triggers; they sort before usual names.
const WRITE: &str = "!helios_write";

/// `helios_create_reference_table`: turns a table on this server into a reference table.
pub fn create(relation: Oid) -> Result<()> {
    let _path = transaction::SafePath::begin();
    refuse_on_node()?;
    catalog::lock_cluster_shared();
    let table = described(relation)?;
    own_table(&table)?;
    lock(&table, "ACCESS EXCLUSIVE")?;
    check_kind(&table)?;
    check_shape(&table)?;
    make(&[table])
}

/// Makes reference tables of tables that are locked against writers, and fulfil the requirements.
pub(super) fn make(tables: &[ReferenceTable]) -> Result<()> {
    refuse_old_snapshot()?;
    let nodes = nodes()?;
    for table in tables {
        let _as_owner = RunAs::role(catalog::catalogs_owner()?);
        locally(|| make_triggers(table))?;
        catalog::add_reference(table.relation)?;
    }
    // One may refer to another.
    tables.iter().try_for_each(check_shape)?;
    tables.iter().try_for_each(|table| nodes.iter().try_for_each(|node| copy(node.id, table)))
}

/// Locks a table, whatever the current user may do with it.
pub(super) fn lock(table: &ReferenceTable, mode: &str) -> Result<()> {
    let _as_owner = RunAs::role(catalog::catalogs_owner()?);
    locally(|| sql::run(&format!("LOCK TABLE ONLY {} IN {mode} MODE", table.name), &[]))
}

/// `helios_undistribute_table`: a reference table becomes a table of this server alone.
pub fn undistribute(relation: Oid) -> Result<()> {
    let _path = transaction::SafePath::begin();
    catalog::lock_cluster_shared();
    let table = described(relation)?;
    if !catalog::is_reference(relation)? {
        let message = format!("table {} is not a reference table", table.name);
        return Err(Error::new(Code::ERRCODE_WRONG_OBJECT_TYPE, message));
    }
    own_table(&table)?;
    lock(&table, "ACCESS EXCLUSIVE")?;
    catalog::lock_reference_exclusive(relation);
    refuse_referrers(&table)?;
    catalog::forget_reference(relation)?;
    for node in nodes()? {
        let text = format!("DROP TABLE {} RESTRICT", table.name);
        transaction::execute(node.id, text.as_bytes(), Mode::Transaction, true)?;
    }
    let _as_owner = RunAs::role(catalog::catalogs_owner()?);
    locally(|| {
        for part in ["_begin", "_row", "_end", "_truncate"] {
            sql::run(&format!("DROP TRIGGER \"{WRITE}{part}\" ON {}", table.name), &[])?;
        }
        Ok(())
    })
}

/// Copies all reference tables with their rows to a new node, in the current transaction, which holds the cluster's lock.
pub fn copy_to_node(node: NodeId) -> Result<()> {
    let tables = catalog::references()?;
    if !tables.is_empty() {
        refuse_old_snapshot()?;
    }
    tables.iter().try_for_each(|table| copy(node, table))
}

/// Drops the copies on a node that leaves the cluster, in a separate transaction. If the node cannot be reached,
/// raises a warning: it may be permanently lost.
pub fn drop_from_node(node: &Node) -> Result<()> {
    let tables = catalog::references()?;
    if tables.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = tables.into_iter().map(|table| table.name).collect();
    let drop = || -> Result<()> {
        let role = privileges::session_user();
        let mut session = Session::connect(&Rc::new(transaction::target(node, &role)?), &role)?;
        session.query(&format!("DROP TABLE IF EXISTS {}", names.join(", "))).map(|_| ())
    };
    if let Err(error) = drop() {
        let message = format!("could not drop the reference tables of node \"{}\"", node.name);
        let warning = Error::new(Code::ERRCODE_WARNING, message)
            .detail(error.to_string())
            .hint(format!("Drop them on the node: {}.", names.join(", ")));
        crate::pg::error::notify(pgrx::PgLogLevel::WARNING, &warning);
    }
    Ok(())
}

/// Refuses definitions that the copies cannot follow; decides about those that are for this server only.
pub(super) fn before(statement: &Statement) -> Result<Option<Step>> {
    let is =
        |relation: Oid| catalog::is_reference(names::table_of_index(relation).unwrap_or(relation));
    if statement.is_concurrent()
        && let Some(relation) = statement.subject()
        && is(relation)?
    {
        return Err(unsupported("CONCURRENTLY is not supported on a reference table".into())
            .detail("All copies change in one transaction, but a concurrent build takes several.")
            .hint("Use the command without CONCURRENTLY."));
    }
    if statement.tag() != NodeTag::T_AlterTableStmt {
        return Ok(None);
    }
    let named = statement.named();
    // The state that they have anyway, as a dump restores it.
    if statement.only_enables_always(WRITE) && matches!(named.as_slice(), [one] if is(one.id)?) {
        return Ok(Some(begin(*statement, FollowUp::Bookkeeping)));
    }
    for object in named {
        if let (true, Some(what)) = (is(object.id)?, statement.alters_what_copies_lack()) {
            return Err(unsupported(format!(
                "{what} is not supported on reference table \"{}\"",
                names::displayed_relation_name(object.id)
            ))
            .hint(with_one_copy(&described(object.id)?)));
        }
    }
    Ok(None)
}

/// The remedy for a change that the copies cannot follow.
fn with_one_copy(table: &ReferenceTable) -> String {
    let name = quote::literal(&table.name);
    format!(
        "Make the change while the table has no copies: SELECT helios_undistribute_table({name}); and afterwards \
            SELECT helios_create_reference_table({name});"
    )
}

/// What has to follow, or must not be, after a definition ran here and on the nodes.
pub(super) fn after(scope: &StatementScope, statement: &Statement) -> Result<()> {
    for touched in &scope.touched {
        let object = touched.object;
        match touched.event {
            Event::Dropped if object::is_relation(object) && catalog::is_reference(object.id)? => {
                catalog::forget_reference(object.id)?;
            }
            Event::Created if object::is_constraint(object) => leave_checks_to_nodes(object.id)?,
            Event::Created if object::is_rule(object) || object::is_policy(object) => {
                if let Some(Belongs::Relation { relation, .. }) = object::belongs(object) {
                    still_fits(relation)?;
                }
            }
            _ => {}
        }
    }
    match statement.tag() {
        NodeTag::T_AlterTableStmt => statement
            .named()
            .iter()
            .try_for_each(|object| check_altered(object.id, scope, statement)),
        NodeTag::T_CreateStmt => {
            statement.models().iter().try_for_each(|object| still_fits(object.id))
        }
        _ => Ok(()),
    }
}

/// After ALTER TABLE: rows that it rewrote must be the same everywhere.
fn check_altered(relation: Oid, scope: &StatementScope, statement: &Statement) -> Result<()> {
    if !catalog::is_reference(relation)? {
        return Ok(());
    }
    let table = described(relation)?;
    check_shape(&table)?;
    let makes = |touched: &&Touched| touched.event == Event::Created;
    if scope.touched.iter().filter(makes).any(|touched| object::is_sequence(touched.object)) {
        let message =
            format!("cannot add a column with a sequence to reference table {}", table.name);
        return Err(unsupported(message)
            .detail("Sequences exist on the coordinator only.")
            .hint(with_one_copy(&table)));
    }
    if !statement.computes_rows() {
        return Ok(());
    }
    let here = digest(&table)?;
    for node in nodes()? {
        let rows = transaction::query(node.id, digest_there(&table).as_bytes(), Mode::Transaction)?;
        if rows.into_iter().flatten().flatten().next().as_ref() != Some(&here) {
            let message = format!("cannot alter reference table {} this way", table.name);
            return Err(unsupported(message)
                .detail(format!("The rows would differ between this server and node \"{}\".", node.name))
                .hint("Add the column without a volatile default, fill it with UPDATE, and then set the default."));
        }
    }
    Ok(())
}

/// The node of a shell looks after its rows: the checks that this server would make against the shell, for rows of the
/// reference table that change, are the node's.
fn leave_checks_to_nodes(constraint: Oid) -> Result<()> {
    let _as_owner = RunAs::role(catalog::catalogs_owner()?);
    let select = "SELECT t.tgname::text AS trigger, k.confrelid, c.relnamespace
                    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
                         JOIN pg_trigger t ON t.tgconstraint = k.oid AND t.tgrelid = k.confrelid
                   WHERE k.oid = $1 AND k.contype = 'f' AND k.conrelid <> k.confrelid";
    let triggers = sql::rows(select, &[constraint.into()], |row| {
        let trigger = row.value::<String>("trigger")?;
        Ok((trigger, row.value::<Oid>("confrelid")?, row.value::<Oid>("relnamespace")?))
    })?;
    for (trigger, referenced, namespace) in triggers {
        if !catalog::is_reference(referenced)? || catalog::placement(namespace)?.is_none() {
            continue;
        }
        trigger_state::set(referenced, &trigger, Fires::Never)?;
    }
    Ok(())
}

/// The same for all foreign keys of a table whose rows have moved to a node.
pub(super) fn leave_checks_of_table_to_nodes(table: Oid) -> Result<()> {
    let select = "SELECT oid FROM pg_constraint WHERE conrelid = $1 AND contype = 'f'";
    let keys = sql::rows(select, &[table.into()], |row| row.value::<Oid>("oid"))?;
    keys.into_iter().try_for_each(leave_checks_to_nodes)
}

fn nodes() -> Result<Vec<Rc<Node>>> {
    let nodes: Vec<Rc<Node>> =
        catalog::nodes()?.iter().filter(|node| !node.is_local).cloned().collect();
    nodes.iter().try_for_each(|node| node.check_ours())?;
    Ok(nodes)
}

fn refuse_on_node() -> Result<()> {
    if !catalog::is_node()? {
        return Ok(());
    }
    Err(Error::new(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "cannot create a reference table on a node",
    )
    .detail("This server is a node of a cluster.")
    .hint("Connect to the coordinator."))
}

/// The rows must be those that are committed once the lock is held.
fn refuse_old_snapshot() -> Result<()> {
    let level = session::setting("transaction_isolation").unwrap_or_default();
    if level.starts_with("read ") {
        return Ok(());
    }
    let message =
        format!("cannot copy reference tables in a transaction with isolation level {level}");
    Err(unsupported(message)
        .detail("The transaction may not see rows that were committed after it started.")
        .hint("Use READ COMMITTED."))
}

/// The table and its name.
pub(super) fn described(relation: Oid) -> Result<ReferenceTable> {
    let name = "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c
                  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1";
    let _path = OwnSettings::safe_path();
    match sql::one::<String>(name, &[relation.into()])? {
        Some(name) => Ok(ReferenceTable { relation, name }),
        None => Err(Error::new(
            Code::ERRCODE_UNDEFINED_TABLE,
            format!("relation with OID {} does not exist", relation.to_u32()),
        )),
    }
}

/// Refuses what was just done if a reference table cannot be like that.
fn still_fits(relation: Oid) -> Result<()> {
    if !catalog::is_reference(relation)? {
        return Ok(());
    }
    check_shape(&described(relation)?)
}

/// Tenants' tables that refer to the table would lose it.
fn refuse_referrers(table: &ReferenceTable) -> Result<()> {
    let select = "SELECT format('%I.%I', n.nspname, c.relname) AS name, n.oid AS namespace FROM pg_constraint k
                    JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE k.confrelid = $1 AND k.contype = 'f' ORDER BY 1";
    let referrers = sql::rows(select, &[table.relation.into()], |row| {
        Ok((row.value::<String>("name")?, row.value::<Oid>("namespace")?))
    })?;
    for (name, namespace) in referrers {
        if catalog::placement(namespace)?.is_some() {
            let message = format!("cannot undistribute reference table {}", table.name);
            return Err(Error::new(Code::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST, message)
                .detail(format!(
                    "Table {name} in a distributed schema has a foreign key that references it."
                ))
                .hint("Drop the foreign key first."));
        }
    }
    Ok(())
}

fn make_triggers(table: &ReferenceTable) -> Result<()> {
    let kinds = [
        ("_begin", "BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE", "STATEMENT"),
        ("_row", "AFTER INSERT OR UPDATE OR DELETE", "ROW"),
        ("_end", "AFTER INSERT OR UPDATE OR DELETE", "STATEMENT"),
        ("_truncate", "AFTER TRUNCATE", "STATEMENT"),
    ];
    for (part, when, level) in kinds {
        let text = format!(
            "CREATE TRIGGER \"{WRITE}{part}\" {when} ON {} FOR EACH {level} EXECUTE FUNCTION helios.reference_write()",
            table.name
        );
        sql::run(&text, &[])?;
        trigger_state::set(table.relation, &format!("{WRITE}{part}"), Fires::Always)?;
    }
    Ok(())
}
