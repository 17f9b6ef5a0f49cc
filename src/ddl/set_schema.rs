//! ALTER … SET SCHEMA to a schema on another server.
//!
//! The server runs the command on its own catalogs first, which checks the caller's rights; then the object moves. What
//! depends on the object, or what it depends on, must be where it goes.

use super::follow_up::FollowUp;
use super::object_location::{self, Location};
use super::relocation_plan::{self, Kind, Place, Relocation};
use super::statement_scope::begin;
use super::{relocation, routine, schema};
use crate::catalog::{self, NodeId};
use crate::error::{self, Error, Result};
use crate::pg::catalog::names;
use crate::pg::catalog::object::{self, Belongs, Object};
use crate::pg::catalog::privileges;
use crate::pg::hooks::utility::Step;
use crate::pg::session::{self, sql};
use crate::pg::tree::statement::Statement;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use pgrx::spi::quote_identifier;

/// None for another command, and for a move that only changes a name.
pub(super) fn before(statement: &Statement) -> Result<Option<Step>> {
    let Some((object, new_schema)) = statement.set_schema() else { return Ok(None) };
    let Some(from) = object_location::of(object)? else { return Ok(None) };
    let to = catalog::any_placement_of(&new_schema)?.filter(|place| place.node != NodeId::LOCAL);
    let target = to.as_ref().map_or(Place::Here, |place| Place::Node(place.node));
    let source = match &from {
        Location::Node(place, _) => Place::Node(place.node),
        Location::Coordinator(_) | Location::EveryNode => Place::Here,
    };
    if source == target {
        return Ok(None);
    }
    let old_name = object::identity(object)?.unwrap_or_default();
    let refuse = |detail: &str| refusal(&old_name, &new_schema, detail.into());
    let Some(kind) = kind_of(object) else {
        return Err(refuse(
            "Only tables, views, sequences, functions and procedures can move between servers.",
        )
        .hint(format!("Create the object in schema {}.", quote_identifier(&new_schema))));
    };
    if from == Location::EveryNode && kind != Kind::Routine {
        return Err(refuse("Every server has a copy of the reference table.")
            .hint(format!("Run SELECT helios_undistribute_table('{old_name}') first.")));
    }
    if object::is_part_of_extension(object) {
        return Err(refuse("It is a member of an extension.")
            .hint("Create the extension in the other schema."));
    }
    let nodes = match from {
        Location::EveryNode => catalog::remote_nodes()?.iter().map(|node| node.id).collect(),
        Location::Node(ref place, _) => vec![place.node],
        Location::Coordinator(_) => Vec::new(),
    };
    let old_schema = match object::belongs(object) {
        Some(Belongs::Relation { namespace, .. } | Belongs::Schema(namespace)) => {
            session::namespace_name(namespace).unwrap_or_default()
        }
        _ => return Ok(None),
    };
    for name in [&old_schema, &new_schema] {
        schema::refuse_while_moving(name, "move an object into or out of")?;
    }
    for place in [source, target] {
        if let Place::Node(node) = place {
            catalog::node(node)?.check_ours()?;
        }
    }
    if kind == Kind::Table {
        refuse_old_snapshot(&old_name, &new_schema)?;
    }
    let plan = Relocation { object, kind, source, target, nodes, old_schema, new_schema, old_name };
    Ok(Some(begin(*statement, FollowUp::Relocate(Box::new(plan)))))
}

/// Moves the object, which has its new schema here.
pub(super) fn after(plan: &Relocation, statement: &Statement) -> Result<()> {
    check_dependents(plan)?;
    check_references(plan)?;
    check_owner(plan)?;
    match plan.kind {
        Kind::Routine => routine::relocate(plan, statement),
        _ => relocation::relation(plan),
    }
}

fn refusal(name: &str, schema: &str, detail: String) -> Error {
    Error::new(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot move {name} to schema \"{schema}\", which is on another server"),
    )
    .detail(detail)
}

/// The kind of an object that can move to another server.
fn kind_of(object: Object) -> Option<Kind> {
    match names::relation_kind(object.id).filter(|_| object::is_relation(object)) {
        Some(b'r' | b'p') => Some(Kind::Table),
        Some(b'v') => Some(Kind::View),
        Some(b'S') => Some(Kind::Sequence),
        Some(_) => None,
        None => object::is_plain_routine(object).then_some(Kind::Routine),
    }
}

fn refused(plan: &Relocation, detail: String) -> Error {
    refusal(&plan.old_name, &plan.new_schema, detail)
}

/// All committed rows move, and an older snapshot does not have them all.
fn refuse_old_snapshot(name: &str, schema: &str) -> Result<()> {
    let level = session::setting("transaction_isolation").unwrap_or_default();
    if level.starts_with("read ") {
        return Ok(());
    }
    Err(refusal(
        name,
        schema,
        format!("In a transaction with isolation level {level}, rows that were committed after it started would be lost."),
    )
    .hint("Use READ COMMITTED."))
}

/// Nothing that stays may depend on the object, except views on this server.
fn check_dependents(plan: &Relocation) -> Result<()> {
    let select = "SELECT DISTINCT d.classid AS class, d.objid AS id FROM part p
                    JOIN pg_depend d ON d.refclassid = p.class AND d.refobjid = p.id
                   WHERE NOT EXISTS (SELECT FROM part q WHERE q.class = d.classid AND q.id = d.objid) ORDER BY 1, 2";
    for dependent in relocation_plan::objects(select, plan.object)? {
        let shown = match object::belongs(dependent) {
            Some(Belongs::Relation { relation, .. }) if object::is_rule(dependent) => {
                object::of_relation(relation)
            }
            _ => dependent,
        };
        let is_local_view = object::is_view(shown)
            && names::relation_kind(shown.id) == Some(b'v')
            && matches!(object_location::of(shown)?, Some(Location::Coordinator(_)));
        if is_local_view && plan.kind != Kind::Routine {
            continue;
        }
        let name = described(shown)?;
        let hint = match object::is_constraint(dependent) {
            true => constraint_hint(dependent, None)?,
            false => format!("Drop {name} first, and create it again afterwards."),
        };
        return Err(
            refused(plan, format!("{} depends on it.", error::capitalized(&name))).hint(hint)
        );
    }
    Ok(())
}

/// What the object depends on must be on its new server.
fn check_references(plan: &Relocation) -> Result<()> {
    let select = "SELECT DISTINCT d.refclassid AS class, d.refobjid AS id FROM part p
                    JOIN pg_depend d ON d.classid = p.class AND d.objid = p.id
                   WHERE NOT EXISTS (SELECT FROM part q WHERE q.class = d.refclassid AND q.id = d.refobjid)
                     AND d.refclassid <> 'pg_namespace'::regclass ORDER BY 1, 2";
    for below in relocation_plan::objects(select, plan.object)? {
        if object::is_given(below) {
            continue;
        }
        let Some(location) = object_location::of_named(below)? else { continue };
        let is_there = match (&location, plan.target) {
            (Location::Node(place, _), Place::Node(target)) => place.node == target,
            (Location::Node(..), Place::Here) => {
                plan.kind == Kind::View || !object::is_relation(below)
            }
            (Location::Coordinator(_), Place::Node(_)) => false,
            // Foreign keys of tables here and on nodes are checked in different ways.
            (Location::EveryNode, Place::Here) => !object::is_table(below),
            _ => true,
        };
        if !is_there {
            let name = described(below)?;
            let place = match location {
                Location::Node(place, _) => {
                    format!("on node \"{}\"", catalog::node(place.node)?.name)
                }
                _ => "on this server".to_owned(),
            };
            let hint = match foreign_key(plan, below)? {
                Some(key) => constraint_hint(key, Some(&plan.old_name))?,
                None => format!("Remove the reference to {name} first."),
            };
            return Err(
                refused(plan, format!("It depends on {name}, which is {place}.")).hint(hint)
            );
        }
    }
    Ok(())
}

/// The object's foreign key that references a table.
fn foreign_key(plan: &Relocation, table: Object) -> Result<Option<Object>> {
    let select = "SELECT 'pg_constraint'::regclass::oid AS class, oid AS id FROM pg_constraint
                   WHERE contype = 'f' AND conrelid = $1 AND confrelid = $2";
    let keys = sql::rows(select, &[plan.object.id.into(), table.id.into()], |row| {
        Ok(Object { class: row.value("class")?, id: row.value("id")? })
    })?;
    Ok(keys.first().copied())
}

/// How to drop a constraint; `table` is the name of its table, if that is another one than now.
fn constraint_hint(constraint: Object, table: Option<&str>) -> Result<String> {
    let select = "SELECT pg_catalog.format('Drop the constraint first: ALTER TABLE %s DROP CONSTRAINT %I;',
                                           coalesce($2, conrelid::pg_catalog.regclass::text), conname)
                    FROM pg_catalog.pg_constraint WHERE oid = $1 AND conrelid <> 0";
    let hint = sql::one::<String>(select, &[constraint.id.into(), table.into()])?;
    Ok(hint.unwrap_or_else(|| "Drop the constraint first.".into()))
}

/// The owner creates the object on its node, so that his code runs with his privileges only.
fn check_owner(plan: &Relocation) -> Result<()> {
    let owner = match (plan.kind, plan.target) {
        (Kind::Routine, _) => routine::owner_of_parsed(plan.object)?,
        (_, Place::Here) => None,
        (_, Place::Node(_)) => Some(privileges::owner_of_relation(plan.object.id)?),
    };
    let Some(owner) = owner else { return Ok(()) };
    let name = privileges::role_name(owner);
    let may = "SELECT pg_catalog.has_schema_privilege($1, $2, 'CREATE') AND pg_catalog.has_schema_privilege($1, $2, 'USAGE')";
    if owner == privileges::current_user()
        || sql::one::<bool>(may, &[owner.into(), plan.new_schema.as_str().into()])? == Some(true)
    {
        return Ok(());
    }
    let schema = quote_identifier(&plan.new_schema);
    Err(Error::new(
        Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("permission denied for schema {}", plan.new_schema),
    )
    .detail(format!("On another server, {} is created by its owner \"{name}\".", plan.old_name))
    .hint(format!(
        "Run GRANT USAGE, CREATE ON SCHEMA {schema} TO {} first.",
        quote_identifier(&name)
    )))
}

fn described(object: Object) -> Result<String> {
    let select = "SELECT pg_catalog.pg_describe_object($1, $2, 0)";
    Ok(sql::one::<String>(select, &[object.class.into(), object.id.into()])?.unwrap_or_default())
}
