//! Starts an import and performs all checks that are possible while the user is waiting.

use super::shells;
use crate::catalog::migration;
use crate::catalog::{self, placement_strategy};
use crate::error::Result;
use crate::migration::kind::Kind;
use crate::migration::{preflight, start as migration_start};
use crate::replication::endpoints::Endpoints;
use crate::replication::foreign_server::Server;

/// Arguments of an import.
pub struct Import<'a> {
    /// libpq connection string.
    pub connection: &'a str,
    /// Name of the schema on both servers.
    pub schema: &'a str,
    /// Target node; None to place the schema by its name.
    pub node: Option<&'a str>,
    /// Whether changes shall be replicated back after the switch.
    pub reverse_channel: bool,
}

/// Starts importing a schema; returns the migration's ID. The move itself starts when the local transaction has
/// committed.
///
/// 22023 invalid connection string, 08001 server not reachable, 42P06 schema exists, 3F000 foreign schema does not
/// exist; 42501, 42704, 53400, 55000 and 0A000 for missing prerequisites, with the remedy.
pub fn start(import: &Import<'_>) -> Result<i64> {
    let server = Server::parse(import.connection)?;
    catalog::lock_cluster_shared();
    shells::check_free(import.schema)?;
    let target = placement_strategy::target(import.schema, import.node, None)?.node();
    migration_start::check_target(&*catalog::node(target)?)?;
    catalog::as_owner(|| shells::reserve(import.schema))?;
    let shard = catalog::dedicated_shard(import.schema, target)?;
    catalog::insert_schema(import.schema, helios_core::slot::key_of(import.schema), shard)?;
    catalog::set_moving(shard, true)?;
    let source = catalog::foreign_server::new_number()?;
    let schemas = [import.schema.to_owned()];
    let id = migration::insert(&Kind::Import.row(shard, &schemas, source, target))?;
    server.insert(source, id)?;
    migration::set_reverse_channel(id, import.reverse_channel)?;
    let migration = migration::load(id)?;
    let mut endpoints = Endpoints::connect(&migration)?;
    // The worker repeats these checks, but here the user sees the error.
    preflight::check(&migration, &mut endpoints)?;
    Ok(id)
}
