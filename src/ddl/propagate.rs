//! Determines the nodes to which a DDL command is sent, and sends it.

use super::dependencies::Sequences;
use super::follow_up::{FollowUp, Models};
use super::locations::{Locations, Reach};
use super::object_location::{self, Location};
use super::statement_scope::{StatementScope, begin};
use super::{
    auto_reference, bodies, dependencies, expressions, extension, large_objects, like,
    names_in_text, send,
};
use crate::catalog;
use crate::error::{Error, Result};
use crate::pg::catalog::names;
use crate::pg::catalog::object;
use crate::pg::hooks::object_access::Event;
use crate::pg::hooks::utility::Step;
use crate::pg::session;
use crate::pg::tree::statement::Statement;
use crate::pg::tree::statement_names::Granted;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use pgrx::pg_sys::{NodeTag, Oid};

/// The checks that are possible before anything is done.
pub(super) fn before(statement: &Statement) -> Result<Step> {
    match statement.tag() {
        NodeTag::T_DropOwnedStmt | NodeTag::T_ReassignOwnedStmt | NodeTag::T_GrantRoleStmt => {
            return Ok(begin(*statement, FollowUp::Everywhere));
        }
        _ => {}
    }
    for object in statement.published() {
        if let Some(Location::Node(place, schema)) = object_location::of(object)? {
            let node = catalog::node(place.node)?;
            return Err(Error::new(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!(
                    "cannot publish tables of distributed schema \"{schema}\" from the coordinator"
                ),
            )
            .detail(format!("Their rows are on node \"{}\".", node.name))
            .hint(format!("Connect to node \"{}\" and create the publication there.", node.name)));
        }
    }
    let mut locations = Locations { refers: refers(statement), ..Locations::default() };
    for object in statement.named() {
        if let Some(location) = object_location::of_named(object)? {
            locations.add(location);
        }
    }
    locations.check_named()?;
    if locations.nodes.is_empty() {
        expressions::check_rewrite(statement)?;
    }
    let shell = !locations.nodes.is_empty() && statement.adds_foreign_key();
    let run = if shell { statement.without_validation() } else { *statement };
    Ok(begin(run, FollowUp::Touched { models: Models::of(statement) }))
}

/// Sends a command that the server has run to the nodes concerned.
pub(super) fn after(scope: &StatementScope, models: &Models, statement: &Statement) -> Result<()> {
    if !catalog::in_use() {
        return Ok(());
    }
    extension::check(scope, statement)?;
    auto_reference::follow(scope)?;
    let reach = match statement.granted() {
        Some(granted) => reach_of_grant(granted, statement)?,
        None => reach_of(scope, models, statement)?,
    };
    match reach {
        Reach::Here => Ok(()),
        Reach::Node(node) if like::is_elsewhere(&models.liked, node)? => {
            large_objects::check(statement)?;
            like::check_code(scope, &models.liked, node)?;
            like::define(scope, node).map(drop)
        }
        Reach::Node(node) => {
            names_in_text::check(statement, Some(node))?;
            large_objects::check(statement)?;
            let strays = bodies::strays(scope, node)?;
            match statement.tag() {
                NodeTag::T_CreateFunctionStmt if !strays.is_empty() => {
                    send::unchecked_function(node, statement)?;
                }
                _ => send::own(node, statement)?,
            }
            strays.iter().try_for_each(|stray| stray.warn(node))
        }
        Reach::All if statement.tag() == NodeTag::T_CreateFunctionStmt => {
            send::function_to_all(statement)
        }
        Reach::All => {
            names_in_text::check(statement, None)?;
            send::own_to_all(statement)
        }
    }
}

/// Raises an error if a created object depends on relations in another place.
pub(super) fn check(scope: &StatementScope, statement: &Statement) -> Result<()> {
    reach_of(scope, &Models::default(), statement).map(|_| ())
}

fn reach_of(scope: &StatementScope, models: &Models, statement: &Statement) -> Result<Reach> {
    let sequences = match statement.tag() {
        NodeTag::T_CreateStmt if models.liked.is_empty() => Sequences::Same,
        NodeTag::T_CreateStmt => Sequences::Copied,
        _ => Sequences::SameFor(statement.columns_with_new_defaults()),
    };
    let (mut made, mut gone) =
        (Locations { refers: refers(statement), ..Locations::default() }, Locations::default());
    for touched in &scope.touched {
        match touched.event {
            Event::Dropped => {
                if let Some(location) = touched.location.clone() {
                    gone.add(location);
                }
            }
            Event::Created | Event::Altered => {
                dependencies::check(touched.object, &sequences)?;
                match object_location::of(touched.object)? {
                    // It no longer depends on a local relation, and now looks like a shared object.
                    Some(Location::EveryNode) if statement.tag() == NodeTag::T_DropStmt => {}
                    Some(location) => made.add(location),
                    None => {}
                }
            }
        }
    }
    // After a DROP, its names refer to the next objects in the search path; the dropped objects have been recorded.
    let named = match statement.tag() {
        NodeTag::T_DropStmt => Vec::new(),
        _ => statement.named(),
    };
    for object in named {
        if let Some(location) = object_location::of_named(object)? {
            made.add(location);
        }
    }
    for object in &models.parents {
        match object_location::of_named(*object)? {
            Some(Location::EveryNode) | None => {}
            Some(location) if !made.nodes.is_empty() && !object::is_given(*object) => {
                made.add(location)
            }
            Some(_) => {}
        }
    }
    // A command on a shared object may affect dependent objects in many places; all others belong to one place.
    if !(made.everywhere || gone.everywhere)
        || statement.tag() == NodeTag::T_AlterDefaultPrivilegesStmt
    {
        made.check()?;
        let mut both = made.clone();
        both.nodes.extend(gone.nodes.clone());
        both.everywhere = false;
        both.check()?;
    }
    if statement.tag() == NodeTag::T_AlterDefaultPrivilegesStmt
        && made.everywhere
        && !made.nodes.is_empty()
    {
        return Err(made.refusal()?);
    }
    Ok(match made.reach() {
        Reach::Here => gone.reach(),
        reach if gone.everywhere && reach != Reach::All => Reach::All,
        reach => reach,
    })
}

/// Whether the command lets one of the objects that it names refer to the others.
fn refers(statement: &Statement) -> bool {
    !matches!(
        statement.tag(),
        NodeTag::T_DropStmt
            | NodeTag::T_TruncateStmt
            | NodeTag::T_GrantStmt
            | NodeTag::T_AlterDefaultPrivilegesStmt
            | NodeTag::T_CommentStmt
            | NodeTag::T_VacuumStmt
            | NodeTag::T_LockStmt
    )
}

fn reach_of_grant(granted: Granted, statement: &Statement) -> Result<Reach> {
    let mut locations = Locations::default();
    match granted {
        Granted::Objects(objects) => {
            for object in objects {
                if let Some(location) = object_location::of_named(object)? {
                    locations.add(location);
                }
            }
        }
        Granted::RelationsIn(schemas) => {
            for schema in schemas {
                match object_location::of(object::of_schema(schema))? {
                    Some(Location::EveryNode) if has_references(schema)? => {
                        locations.everywhere = true
                    }
                    Some(Location::EveryNode) | None => {
                        locations.here = session::namespace_name(schema);
                    }
                    Some(location) => locations.add(location),
                }
            }
        }
        Granted::RoutinesIn(schemas) => {
            for schema in schemas {
                if let Some(location) = object_location::of(object::of_schema(schema))? {
                    locations.add(location);
                }
            }
        }
        Granted::Everywhere => locations.everywhere = true,
        Granted::Server => {}
        Granted::Databases(names) => {
            if names.contains(&session::database()) {
                send::grant_on_database(statement)?;
            }
        }
    }
    locations.check_named()?;
    Ok(locations.reach())
}

/// Whether a plain schema contains reference tables, the only relations that nodes have in it.
pub(super) fn has_references(schema: Oid) -> Result<bool> {
    let tables = catalog::references()?;
    Ok(tables.iter().any(|table| names::relation_namespace(table.relation) == Some(schema)))
}
