//! Databases of this server.

use crate::pg::catalog::table::{catalog_table, system_rows};
use pgrx::pg_sys::{self, Oid};

catalog_table! {
    struct Database: "pg_catalog"."pg_database" {
        oid: Oid,
        datistemplate: bool,
        datallowconn: bool,
        /// -2 after an interrupted DROP DATABASE.
        datconnlimit: i32,
    }
}

/// Databases to which a worker can connect.
pub fn connectable() -> Vec<u32> {
    let databases = system_rows::<Database>(pg_sys::DatabaseRelationId.to_u32(), 0, &[]);
    let usable = |d: &Database| d.datallowconn && !d.datistemplate && d.datconnlimit != -2;
    databases.iter().filter(|d| usable(d)).map(|d| d.oid.to_u32()).collect()
}
