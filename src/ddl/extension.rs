//! Extensions are shared: each exists on every node, in a plain schema. Objects that use an extension may be anywhere,
//! and an extension inside a distributed schema could neither be accessed from elsewhere nor move with it.

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

/// Whether the command is about extension helios itself and concerns this server only: each node is updated separately,
/// and can be updated or dropped whatever version its catalogs have. Only one transaction at a time does that.
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

/// 0A000 if the command has put an extension, or a member of one, into a distributed schema.
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

/// 0A000 if a plain schema to be distributed contains an extension: tables anywhere may depend on it, and every node
/// has it.
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

/// The distributed schema that contains the object, if any.
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

/// `name` is quoted as needed.
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
