//! The extension's own functions and views, whose results depend on the server, recognized by name.

use crate::pg::catalog::names;
use crate::pg::catalog::object::FIRST_USER_OID;
use crate::pg::session;
use pgrx::pg_sys::{self, Oid};

/// The schema of the extension's catalogs and internal functions.
pub const SCHEMA: &str = "helios";

/// Prefix of the names of all functions and views for users, which are in `pg_catalog`.
const PREFIX: &str = "helios_";

/// Whether the function is for users and reads the directory or acts on the cluster.
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

/// Whether the function is in the extension's schema: an internal function, or one called by the extension's views.
pub fn is_internal(function: Oid) -> bool {
    names::function_namespace(function)
        .and_then(session::namespace_name)
        .is_some_and(|name| name == SCHEMA)
}

fn is_pg_catalog(namespace: Oid) -> bool {
    namespace.to_u32() == pg_sys::PG_CATALOG_NAMESPACE
}
