//! Extensions belong to everybody: each is on every node, in a plain schema. What uses one may live anywhere, and an
//! extension inside a distributed schema could neither be reached from elsewhere nor move with it.

use super::statement_scope::StatementScope;
use crate::catalog;
use crate::error::{Error, Result};
use crate::pg::catalog::object::{self, Belongs, Object};
use crate::pg::hooks::object_access::Event;
use crate::pg::session::{self, sql};
use crate::pg::tree::statement::Statement;
use helios_core::quote;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use pgrx::pg_sys::{NodeTag, Oid};

/// Whether the statement is about this extension itself and concerns this server alone: each node is updated by itself, and whatever version
/// its catalogs have, they can be updated or dropped. One transaction at a time does that.
pub(super) fn of_ours(statement: &Statement) -> Result<bool> {
    if statement.drops_extension("helios") {
        return catalog::gate::may_be_dropped();
    }
    if !statement.alters_extension("helios") {
        return Ok(false);
    }
    catalog::gate::lock_extension();
    Ok(true)
}

/// 0A000 if the statement has put an extension, or something that becomes a part of one, into a distributed schema.
pub(super) fn check(scope: &StatementScope, statement: &Statement) -> Result<()> {
    for touched in &scope.touched {
        if touched.event != Event::Dropped
            && object::is_extension(touched.object)
            && let Some(schema) = distributed_schema(touched.object)?
        {
            let name = object::identity(touched.object)?.unwrap_or_default();
            return Err(refusal(&name, &schema, statement));
        }
    }
    if let Some(member) = statement.new_extension_member()
        && let Some(schema) = distributed_schema(member)?
    {
        let name = object::identity(member)?.unwrap_or_default();
        return Err(Error::new(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("cannot add {name} to an extension"),
        )
        .detail(format!(
            "The object is in distributed schema \"{schema}\" on a single node, but extensions exist on every node."
        ))
        .hint("Create the object in a plain schema and add that one."));
    }
    Ok(())
}

/// 0A000 if a plain schema that is to become a distributed one has an extension: tables anywhere may lean on that, and
/// every node has it.
pub(super) fn check_none_in(namespace: Oid, schema: &str) -> Result<()> {
    let find =
        "SELECT pg_catalog.string_agg(pg_catalog.quote_ident(extname), ', ' ORDER BY extname)
                  FROM pg_catalog.pg_extension WHERE extnamespace = $1";
    let Some(names) = sql::one::<String>(find, &[namespace.into()])? else { return Ok(()) };
    let one = names.split(", ").next().unwrap_or_default().to_owned();
    Err(Error::new(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot distribute schema \"{schema}\" because it contains extensions"),
    )
    .detail(format!("Objects in other schemas may use its extensions: {names}."))
    .hint(format!("Move each to a plain schema: ALTER EXTENSION {one} SET SCHEMA public.")))
}

/// The distributed schema that the object is in, if it is in one.
fn distributed_schema(object: Object) -> Result<Option<String>> {
    Ok(match object::belongs(object) {
        Some(Belongs::Schema(namespace) | Belongs::Relation { namespace, .. }) => {
            match catalog::any_placement(namespace)? {
                Some(_) => session::namespace_name(namespace),
                None => None,
            }
        }
        _ => None,
    })
}

/// `name` is quoted where it has to be.
fn refusal(name: &str, schema: &str, statement: &Statement) -> Error {
    let plain = "public";
    let hint = match statement.tag() {
        NodeTag::T_CreateExtensionStmt => format!(
            "Use CREATE EXTENSION {name} SCHEMA {plain} to create the extension for all tenants, and put {plain} after \
                {} in search_path.",
            quote::identifier(schema)
        ),
        _ => format!("Use ALTER EXTENSION {name} SET SCHEMA {plain}."),
    };
    Error::new(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot put extension {name} into distributed schema \"{schema}\""),
    )
    .detail("The extension would exist on one node only, and could not move with the schema.")
    .hint(hint)
}
