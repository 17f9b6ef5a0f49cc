//! CREATE TABLE … (LIKE …) with a model that is not on the new table's node: the server expands the clause here, and the
//! node gets the resulting definition.
//!
//! A default that was copied with its sequence refers to that sequence by name on the node, where the name is looked up
//! when the default is used: a script that copies a schema replaces such defaults in its next step.

use super::object_location::{self, Location};
use super::relation_definition::{self, Definition};
use super::send;
use super::statement_scope::StatementScope;
use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::migration::code::CTES;
use crate::pg::catalog::object::{self, Object};
use crate::pg::catalog::{names, privileges};
use crate::pg::hooks::object_access::Event;
use crate::pg::session::{self, sql};
use helios_core::quote;
use pgrx::PgLogLevel;
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode as Code};
use pgrx::spi::quote_identifier;

/// Whether LIKE names a relation that this node does not have as it is here.
pub(super) fn is_elsewhere(liked: &[Object], node: NodeId) -> Result<bool> {
    for &object in liked.iter().filter(|object| !object::is_given(**object)) {
        match object_location::of_named(object)? {
            Some(Location::Node(place, _)) if place.node == node => {}
            // The copies of a reference table have none of its sequences and identity columns.
            _ => return Ok(true),
        }
    }
    Ok(false)
}

/// Creates the table on its node as it was created here; returns it, if the command created one.
pub(super) fn define(scope: &StatementScope, node: NodeId) -> Result<Option<Oid>> {
    let Some(table) = created_table(scope) else { return Ok(None) };
    let mut definition = relation_definition::of(table.id)?;
    look_up_sequences_late(table.id, node, &mut definition)?;
    if let Err(not_ours) = catalog::node(node)?.check_ours() {
        crate::pg::error::notify(PgLogLevel::NOTICE, &not_ours);
        return Ok(None);
    }
    send::pinned(node, None, || {
        definition.iter().try_for_each(|statement| send::run(node, &statement.text))
    })?;
    Ok(Some(table.id))
}

fn created_table(scope: &StatementScope) -> Option<Object> {
    let created = scope.touched.iter().filter(|touched| touched.event == Event::Created);
    created.map(|touched| touched.object).find(|&object| object::is_table(object))
}

/// The server copies expressions without parsing them, and the node parses them as the current user: 42501 if that would run
/// code of a model's owner.
pub(super) fn check_code(scope: &StatementScope, liked: &[Object], node: NodeId) -> Result<()> {
    let Some(table) = created_table(scope) else { return Ok(()) };
    let owner = "SELECT pg_get_userbyid(c.relowner)::text FROM pg_class c
                  WHERE c.oid = $1 AND c.relowner <> $2
                    AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = c.relowner AND r.rolsuper)";
    let user = privileges::current_user();
    for model in liked {
        let Some(owner) = sql::one::<String>(owner, &[model.id.into(), user.into()])? else {
            continue;
        };
        if runs_code(table.id)? {
            let node = catalog::node(node)?;
            let (name, like) =
                (names::relation_local_name(table.id).unwrap_or_default(), quoted(*model));
            return Err(Error::new(
                Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("cannot create table \"{name}\" like {like} on another server"),
            )
            .detail(format!(
                "Code of role \"{owner}\", which checks constants of the definition, would run on node \"{}\" with your privileges.",
                node.name
            ))
            .hint(format!(
                "Run the command as that role: SET ROLE {}; or leave out the expressions of {like}.",
                quote_identifier(&owner)
            )));
        }
    }
    Ok(())
}

fn quoted(relation: Object) -> String {
    session::quoted_relation_name(relation.id)
}

/// Whether parsing the definition of a table runs code that is not a superuser's. Its checks are not computed, because it
/// has no rows.
fn runs_code(table: Oid) -> Result<bool> {
    let select = format!(
        "WITH RECURSIVE {CTES} SELECT EXISTS (SELECT FROM running
          WHERE relation = $1 AND class <> 'pg_constraint'::regclass)"
    );
    Ok(sql::one::<bool>(&select, &[table.into()])? == Some(true))
}

/// A sequence that a column's default uses.
struct Default {
    column: String,
    sequence: Oid,
}

fn look_up_sequences_late(table: Oid, node: NodeId, definition: &mut [Definition]) -> Result<()> {
    let select = "SELECT a.attname::text AS attname, s.oid FROM pg_attrdef d
                    JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
                    JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid
                                    AND p.refclassid = 'pg_class'::regclass
                    JOIN pg_class s ON s.oid = p.refobjid AND s.relkind = 'S'
                   WHERE d.adrelid = $1 ORDER BY a.attnum";
    let defaults = sql::rows(select, &[table.into()], |row| {
        Ok(Default { column: row.value("attname")?, sequence: row.value("oid")? })
    })?;
    for default in defaults {
        let location = object_location::of(object::of_relation(default.sequence))?;
        if matches!(location, Some(Location::Node(place, _)) if place.node == node) {
            continue;
        }
        let sequence = session::quoted_relation_name(default.sequence);
        let name = quote::literal(&sequence);
        for statement in definition.iter_mut() {
            let early = format!("{name}::regclass");
            statement.text = statement.text.replace(&early, &format!("({name}::text)::regclass"));
        }
        warn(table, &default.column, &sequence, node)?;
    }
    Ok(())
}

fn warn(table: Oid, column: &str, sequence: &str, node: NodeId) -> Result<()> {
    let node = catalog::node(node)?;
    let (name, quoted) =
        (names::relation_local_name(table).unwrap_or_default(), quote_identifier(column));
    let warning = Error::new(
        Code::ERRCODE_WARNING,
        format!(
            "the default of column \"{column}\" of table \"{name}\" uses a sequence that is not on its node"
        ),
    )
    .detail(format!(
        "Sequence {sequence} is not on node \"{}\"; an INSERT that uses the default fails.",
        node.name
    ))
    .hint(format!(
        "Create a sequence in the table's schema and run ALTER TABLE {} ALTER COLUMN {quoted} SET DEFAULT nextval(…).",
        session::quoted_relation_name(table)
    ));
    crate::pg::error::notify(PgLogLevel::WARNING, &warning);
    Ok(())
}
