//! System catalogs in statements that read tenants' rows.
//!
//! A node has its own catalogs: other OIDs, databases, settings and sessions, and other tenants. A statement that reads
//! catalogs and rows on a node is rejected; one that reads catalogs and only views of tenants, which exist here as
//! well, runs here. Catalog reads inside functions that run on a node are not detected.

use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::pg::catalog::names;
use crate::pg::catalog::object::FIRST_USER_OID;
use crate::pg::tree::object_numbers::OidMisuse;
use crate::pg::tree::{RelationUse, Survey};
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode as Code};

/// Views with the same contents on every server: time zones.
const SAME: [&str; 2] = ["pg_timezone_names", "pg_timezone_abbrevs"];

/// Roles are the same on every server except for their OIDs, which policies compare with each other.
const ROLES: [&str; 7] = [
    "pg_authid",
    "pg_auth_members",
    "pg_db_role_setting",
    "pg_roles",
    "pg_user",
    "pg_shadow",
    "pg_group",
];

/// Whether a statement that names relations of tenants can run here: all of them are views over catalogs.
pub(super) fn suffice(survey: &Survey, namespaces: &[Oid]) -> Result<bool> {
    if read_by(survey).is_none() || survey.lastval || !survey.data_arguments.is_empty() {
        return Ok(false);
    }
    for relation in &survey.relations {
        if relation.kind != b'v' && super::relations::is_remote(relation.oid)? {
            return Ok(false);
        }
    }
    let of_tenant = |function: &Oid| {
        names::function_namespace(*function).is_some_and(|of| namespaces.contains(&of))
    };
    Ok(!survey.functions.iter().any(of_tenant))
}

/// 0A000 if a statement for this node would read the node's catalogs, or use OIDs that are different there.
pub(super) fn check(survey: &Survey, node: i32) -> Result<()> {
    if let Some(catalog) = read_by(survey) {
        return Err(refusal(catalog, node)?);
    }
    match survey.object_number {
        Some(how) => Err(misuse(how, node)?),
        None => Ok(()),
    }
}

/// A catalog, or a view over catalogs, that the statement reads and whose contents differ on a node.
fn read_by(survey: &Survey) -> Option<Oid> {
    let mut catalogs = survey.relations.iter().filter(|relation| is_other_there(relation));
    let first = catalogs.clone().next()?;
    // Report the view that the user wrote; the relations that it reads are in the tree as well.
    let view = catalogs.find(|relation| relation.kind == b'v');
    Some(view.unwrap_or(first).oid)
}

fn is_other_there(relation: &RelationUse) -> bool {
    if relation.oid.to_u32() >= FIRST_USER_OID {
        return false;
    }
    let is_one_of = |known: &[&str]| {
        names::relation_local_name(relation.oid).is_some_and(|name| known.contains(&name.as_str()))
    };
    !(is_one_of(&SAME) || relation.in_policies && is_one_of(&ROLES))
}

fn refusal(catalog: Oid, node: i32) -> Result<Error> {
    let name = names::displayed_relation_name(catalog);
    let node = catalog::node(NodeId(node))?;
    Ok(Error::new(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot read {name} in a statement that runs on a node"),
    )
    .detail(format!(
        "On node \"{}\" it would show the OIDs, databases, settings and sessions of that server.",
        node.name
    ))
    .hint(format!(
        "Read {name} in a separate statement, and pass the result as a parameter, for example = ANY ($1)."
    )))
}

fn misuse(how: OidMisuse, node: i32) -> Result<Error> {
    let node = catalog::node(NodeId(node))?;
    let detail =
        format!("The statement runs on node \"{}\", where objects have different OIDs.", node.name);
    let (message, hint) = match how {
        OidMisuse::Exposed => (
            "cannot use the OID of an object as a number in a statement that runs on a node",
            "Omit the cast to a number: a value of regclass, regtype and so on is sent as the object's name.",
        ),
        OidMisuse::Supplied => (
            "cannot use a number as the OID of an object in a statement that runs on a node",
            "Use the object's name: a value of type text, regclass, regtype and so on.",
        ),
    };
    Ok(Error::new(Code::ERRCODE_FEATURE_NOT_SUPPORTED, message).detail(detail).hint(hint))
}
