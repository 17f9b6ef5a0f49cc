//! The extension's own functions and views, which are not what they seem on another server: told by their names.

use crate::pg::catalog::names;
use crate::pg::catalog::object::FIRST_USER_OID;
use crate::pg::session;
use pgrx::pg_sys::{self, Oid};

/// The schema of the extension's catalogs, and of the functions that are not for users.
pub const SCHEMA: &str = "helios";

/// How the names of all functions and views for users begin, which are in `pg_catalog`.
const PREFIX: &str = "helios_";

/// Whether the function is one for users that answers from the directory or acts on the cluster.
pub fn asks_directory(function: Oid) -> bool {
    function.to_u32() >= FIRST_USER_OID
        && names::function_namespace(function).is_some_and(is_pg_catalog)
        && names::function_local_name(function)
            .is_some_and(|name| name.starts_with(PREFIX) && name != "helios_key_slot")
}

/// Whether the view is one of the extension's own.
pub fn is_own_view(view: Oid) -> bool {
    view.to_u32() >= FIRST_USER_OID
        && names::relation_namespace(view).is_some_and(is_pg_catalog)
        && names::relation_local_name(view).is_some_and(|name| name.starts_with(PREFIX))
}

/// Whether the function is in the extension's schema: one that users do not call, or that the extension's views call.
pub fn is_internal(function: Oid) -> bool {
    names::function_namespace(function)
        .and_then(session::namespace_name)
        .is_some_and(|name| name == SCHEMA)
}

fn is_pg_catalog(namespace: Oid) -> bool {
    namespace.to_u32() == pg_sys::PG_CATALOG_NAMESPACE
}
