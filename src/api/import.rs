//! Import of schemas from servers outside of the cluster.

use super::given;
use crate::error::Result;
use crate::migration;
use crate::migration::import::Import;
use crate::pg::error::OrRaise;
use crate::pg::session;
use crate::transaction;
use pgrx::prelude::*;

/// Starts importing a schema from a foreign PostgreSQL server; returns the migration's ID.
#[pg_extern(sql = false)]
fn helios_import_schema(
    connection: Option<&str>,
    schema: Option<&str>,
    node: Option<&str>,
    way_back: Option<bool>,
) -> i64 {
    // The connection string may contain a password.
    session::show_instead(c"SELECT helios_import_schema(…)");
    let start = || -> Result<i64> {
        let _path = transaction::SafePath::begin();
        migration::import::start(&Import {
            connection: given(connection, "connection")?,
            schema: given(schema, "schema")?,
            node,
            reverse_channel: way_back.unwrap_or(true),
        })
    };
    start().or_raise()
}
