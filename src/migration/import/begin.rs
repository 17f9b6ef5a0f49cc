//! The beginning of an import: everything that can be checked is, while the one who asks is there.

use super::shells;
use crate::catalog::migration;
use crate::catalog::{self, placement_strategy};
use crate::error::Result;
use crate::migration::kind::Kind;
use crate::migration::{preflight, start as migration_start};
use crate::replication::endpoints::Endpoints;
use crate::replication::foreign_server::Server;

/// What is asked for.
pub struct Import<'a> {
    /// Of libpq.
    pub connection: &'a str,
    /// The schema there, and here.
    pub schema: &'a str,
    /// The node that it goes to; None: where its name places it.
    pub node: Option<&'a str>,
    /// Whether writes are to flow back after the switch.
    pub reverse_channel: bool,
}

/// Begins to take a schema over; gives the migration's number. The move itself begins when the local transaction has
/// committed.
///
/// 22023 for a bad connection string, 08001 where it does not lead to a server, 42P06 if the name is taken, 3F000 if
/// there is no such schema there, 42501, 42704, 53400, 55000 and 0A000 for what is missing, with the remedy.
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
    // As the worker will: what keeps the schema from coming is said to the one who asks for it.
    preflight::check(&migration, &mut endpoints)?;
    Ok(id)
}
