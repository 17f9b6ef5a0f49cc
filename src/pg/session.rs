//! What this backend is and knows by name.

use pgrx::pg_sys;
use std::ffi::{CStr, CString};

/// Whether system catalogs can be read now: connected to a database, inside a transaction that has not failed.
pub fn can_read_catalogs() -> bool {
    // SAFETY: reads backend-local variables.
    unsafe {
        pg_sys::MyDatabaseId != pg_sys::InvalidOid
            && pg_sys::IsTransactionState()
            && !pg_sys::IsBinaryUpgrade
    }
}

/// Name of a schema, if it exists.
pub fn namespace_name(namespace: pg_sys::Oid) -> Option<String> {
    // SAFETY: the result is NULL or a palloc'd C string.
    unsafe {
        let name = pg_sys::get_namespace_name(namespace);
        (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

/// The schema of this name, if it exists.
pub fn namespace(name: &str) -> Option<pg_sys::Oid> {
    let name = CString::new(name).ok()?;
    // SAFETY: the text ends with NUL and outlives the call.
    let oid = unsafe { pg_sys::get_namespace_oid(name.as_ptr(), true) };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// Name of the current database.
pub fn database() -> String {
    // SAFETY: the result is a palloc'd C string: the current database cannot be dropped.
    unsafe {
        let name = pg_sys::get_database_name(pg_sys::MyDatabaseId);
        if name.is_null() {
            return String::new();
        }
        CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}

/// Name of the current database's encoding.
pub fn encoding() -> String {
    // SAFETY: the result is a static C string.
    unsafe { CStr::from_ptr(pg_sys::GetDatabaseEncodingName()) }.to_string_lossy().into_owned()
}

/// PostgreSQL's version number, as `server_version_num`.
pub fn version_number() -> i32 {
    pg_sys::PG_VERSION_NUM as i32
}

/// TCP port of this server.
pub fn port() -> i32 {
    // SAFETY: set once in the postmaster.
    unsafe { pg_sys::PostPortNumber }
}

/// OID of this database.
pub fn database_id() -> u32 {
    // SAFETY: reads a static.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}
