//! The backend's session: its client, its transaction and subtransactions, its settings, and SQL run in it.
//!
//! Invariant: temporary changes are undone at the end of their scope or (sub)transaction, whether it succeeds or fails.
//! Begin with [`xact`], the transaction callbacks.

pub mod acting;
pub(in crate::pg) mod backend_state;
pub mod client;
pub mod encoding;
pub mod hooked_settings;
pub mod own_settings;
pub mod preload;
pub mod server_state;
pub mod setting_types;
pub mod settings_scan;
pub mod sql;
pub mod subtransaction;
pub mod transaction_ids;
pub mod transaction_start;
pub mod xact;

use pgrx::pg_sys;
use std::ffi::{CStr, CString};

/// Whether system catalogs can be read: connected to a database, in a transaction that has not been aborted.
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

/// The named schema, if it exists.
pub fn namespace(name: &str) -> Option<pg_sys::Oid> {
    let name = CString::new(name).ok()?;
    // SAFETY: the string is NUL-terminated and outlives the call.
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

/// TCP port of this server.
pub fn port() -> i32 {
    // SAFETY: set once in the postmaster.
    unsafe { pg_sys::PostPortNumber }
}

/// Whether a script of CREATE or ALTER EXTENSION is being executed.
pub fn in_extension_script() -> bool {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::creating_extension }
}

/// Depth of the current subtransaction, 1 for the transaction itself.
pub fn nesting_level() -> i32 {
    backend_state::GetCurrentTransactionNestLevel()
}

/// Qualified name of a relation, quoted for SQL. For messages, use `catalog::names::displayed_relation_name`.
pub fn quoted_relation_name(relation: pg_sys::Oid) -> String {
    // SAFETY: both results are NULL or palloc'd C strings.
    let (schema, name) = unsafe {
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relation));
        let name = pg_sys::get_rel_name(relation);
        (crate::pg::tree::parse_nodes::text(schema), crate::pg::tree::parse_nodes::text(name))
    };
    pgrx::spi::quote_qualified_identifier(schema.unwrap_or_default(), name.unwrap_or_default())
}

/// Blocks the creation of objects in the schema by others until the transaction ends.
pub fn lock_schema(namespace: pg_sys::Oid) {
    let catalog = pg_sys::NamespaceRelationId;
    crate::pg::ipc::lock::object(
        catalog,
        namespace.to_u32(),
        crate::pg::ipc::lock::Mode::Exclusive,
    );
}

/// Name of the role that owns a schema.
pub fn schema_owner(namespace: pg_sys::Oid) -> crate::error::Result<String> {
    let select = "SELECT pg_catalog.pg_get_userbyid(nspowner)::text FROM pg_catalog.pg_namespace WHERE oid = $1";
    Ok(crate::pg::session::sql::one::<String>(select, &[namespace.into()])?.unwrap_or_default())
}

/// Raises 25001 inside a transaction block.
pub fn refuse_transaction_block(top_level: bool, what: &CStr) {
    // SAFETY: the text outlives the call.
    unsafe { pg_sys::PreventInTransactionBlock(top_level, what.as_ptr()) }
}

/// The value of a setting as shown by SHOW; None if it does not exist.
pub fn setting(name: &str) -> Option<String> {
    let name = CString::new(name).ok()?;
    // SAFETY: the string is NUL-terminated; the result is NULL or a C string that is copied at once.
    unsafe {
        crate::pg::tree::parse_nodes::text(pg_sys::GetConfigOption(name.as_ptr(), true, false))
    }
}

/// Invalidates every cached plan of this backend.
pub fn forget_plans() {
    // SAFETY: marks this backend's plans as invalid.
    unsafe { pg_sys::ResetPlanCache() }
}

/// OID of this database.
pub fn database_id() -> u32 {
    // SAFETY: reads a static.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

/// Directory of this database's files, except for those in other tablespaces.
pub fn database_directory() -> std::path::PathBuf {
    // SAFETY: both are set once, the second when the backend connects to its database; they are NUL-terminated.
    let (data, database) =
        unsafe { (CStr::from_ptr(pg_sys::DataDir), CStr::from_ptr(pg_sys::DatabasePath)) };
    let data = std::path::PathBuf::from(data.to_string_lossy().into_owned());
    data.join(database.to_string_lossy().as_ref())
}

/// Path of a program of this server's installation.
pub fn program(name: &str) -> std::path::PathBuf {
    // SAFETY: set once in the postmaster; is NUL-terminated.
    let server = unsafe { CStr::from_ptr((&raw const pg_sys::my_exec_path).cast()) };
    let server = std::path::PathBuf::from(server.to_string_lossy().into_owned());
    server.with_file_name(name)
}

/// The first unix socket directory of this server, if any.
pub fn socket_directory() -> Option<String> {
    let all = setting("unix_socket_directories")?;
    let first = all.split(',').next()?.trim().trim_matches('"').to_owned();
    (!first.is_empty()).then_some(first)
}

/// Microseconds, for unique names.
pub fn clock() -> i64 {
    backend_state::GetCurrentTimestamp()
}

/// WAL position of the end of this session's last commit.
pub fn last_commit() -> u64 {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::XactLastCommitEnd }
}

/// Replaces the text of the current statement in `pg_stat_activity` and in error logs, for statements that contain a
/// password.
pub fn show_instead(text: &'static CStr) {
    // SAFETY: the text lasts; the server sets the variable again with each statement.
    unsafe {
        pg_sys::debug_query_string = text.as_ptr();
        pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, text.as_ptr());
    }
}

/// The server's `deadlock_timeout`.
pub fn deadlock_timeout() -> std::time::Duration {
    // SAFETY: a setting, in milliseconds.
    let timeout = unsafe { pg_sys::DeadlockTimeout };
    std::time::Duration::from_millis(u64::try_from(timeout).unwrap_or(1000))
}

/// Seconds since the server started.
pub fn seconds_since_start() -> u64 {
    // SAFETY: reads a static and the clock.
    let microseconds = unsafe { backend_state::GetCurrentTimestamp() - pg_sys::PgStartTime };
    u64::try_from(microseconds / 1_000_000).unwrap_or(0)
}

/// The first schema in the search path with a deferrable constraint of this name.
pub fn schemas_with_constraint(name: &str) -> crate::error::Result<Vec<String>> {
    let path = "SELECT pg_catalog.current_schemas(true)::pg_catalog.text[]";
    let path: Vec<String> =
        crate::pg::session::sql::in_session_path(path, &[])?.unwrap_or_default();
    let select = "SELECT n.nspname::text AS schema
                    FROM unnest($2::text[]) WITH ORDINALITY AS p(schema, place)
                    JOIN pg_catalog.pg_namespace n ON n.nspname = p.schema::name
                   WHERE EXISTS (SELECT FROM pg_catalog.pg_constraint c
                                  WHERE c.connamespace = n.oid AND c.condeferrable AND c.conname = $1::name)
                   ORDER BY p.place LIMIT 1";
    crate::pg::session::sql::read_rows(select, &[name.into(), path.into()], |row| {
        row.value("schema")
    })
}
