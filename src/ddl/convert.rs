//! Conversion of existing schemas: a plain one becomes distributed, or vice versa. A migration moves the contents.

use super::new_schema::{PlacementRequest, locked_target, plain_schema, register};
use super::outside_references;
use super::{extension, send};
use crate::catalog::{self, NodeId, Placement};
use crate::error::{Error, Result};
use crate::migration;
use crate::pg::catalog::privileges;
use crate::pg::session::{self, sql};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use pgrx::spi::quote_identifier;

/// `helios_distribute_schema`: distributes an existing schema; returns the name of its node.
pub fn distribute(name: &str, request: &PlacementRequest) -> Result<String> {
    let namespace = existing(name)?;
    if let Some(placement) = catalog::any_placement_of(name)? {
        let node = catalog::node(placement.node)?;
        return Err(Error::new(
            Code::ERRCODE_DUPLICATE_OBJECT,
            format!("schema \"{name}\" is already distributed"),
        )
        .detail(format!("It is on node \"{}\".", node.name)));
    }
    extension::check_none_in(namespace, name)?;
    let target = locked_target(name, request)?;
    if target.node() != NodeId::LOCAL {
        lock(name, namespace)?;
        if has_contents(name)? {
            outside_references::check(name, target.node())?;
            let id = migration::start_distributing(name, target.node())?;
            tell_of_migration(name, id);
            return Ok(catalog::node(target.node())?.name.clone());
        }
    }
    register(name, request.key.as_deref().unwrap_or(name), target)?;
    for node in catalog::remote_nodes()? {
        let text = if node.id == target.node() {
            plain_schema(name, &session::schema_owner(namespace)?)
        } else {
            format!("DROP SCHEMA IF EXISTS {} RESTRICT", quote_identifier(name))
        };
        send::to(node.id, text.as_bytes())?;
    }
    Ok(catalog::node(target.node())?.name.clone())
}

/// `helios_undistribute_schema`: turns a distributed schema into a plain one on this server.
pub fn undistribute(name: &str) -> Result<()> {
    let namespace = existing(name)?;
    let Some(Placement { shard, node }) = catalog::any_placement_of(name)? else {
        return Err(Error::new(
            Code::ERRCODE_WRONG_OBJECT_TYPE,
            format!("schema \"{name}\" is not a distributed schema"),
        ));
    };
    if node != NodeId::LOCAL {
        lock(name, namespace)?;
        if has_contents(name)? {
            let id = migration::start_undistributing(name)?;
            tell_of_migration(name, id);
            return Ok(());
        }
    }
    migration::refuse_copies(shard, &format!("schema \"{name}\""))?;
    catalog::lock_shard_shared(shard);
    catalog::forget_schema(name)?;
    let text = plain_schema(name, &session::schema_owner(namespace)?);
    send::to_all(text.as_bytes())
}

/// Looks up the schema, which the current user must own.
fn existing(name: &str) -> Result<pgrx::pg_sys::Oid> {
    let namespace = session::namespace(name).ok_or_else(|| {
        Error::new(Code::ERRCODE_INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist"))
    })?;
    catalog::placement_strategy::check_name(name)?;
    if !privileges::owns_schema(namespace) {
        return Err(Error::new(
            Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("must be owner of schema {name}"),
        ));
    }
    Ok(namespace)
}

/// Blocks renaming, dropping and adding objects to the schema until the transaction ends.
fn lock(name: &str, namespace: pgrx::pg_sys::Oid) -> Result<()> {
    session::lock_schema(namespace);
    // It may have been renamed by a previous holder of the lock.
    if existing(name)? == namespace {
        return Ok(());
    }
    Err(Error::new(
        Code::ERRCODE_OBJECT_IN_USE,
        format!("schema \"{name}\" was replaced by another transaction"),
    )
    .hint("Try again."))
}

/// 42501 unless the current user has the privileges of the schema's owner.
pub fn check_owner(name: &str) -> Result<()> {
    existing(name).map(|_| ())
}

fn has_contents(name: &str) -> Result<bool> {
    let select = "SELECT EXISTS (SELECT FROM pg_catalog.pg_depend d
                   WHERE d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = $1::regnamespace
                     AND d.deptype = 'n')";
    Ok(sql::one(select, &[quote_identifier(name).into()])?.unwrap_or(false))
}

fn tell_of_migration(name: &str, id: i64) {
    let notice = Error::new(
        Code::ERRCODE_SUCCESSFUL_COMPLETION,
        format!("started migration {id} of schema \"{name}\""),
    )
    .hint(format!(
        "To wait for the migration, run SELECT helios_wait_for_migration({id}) after this transaction has committed."
    ));
    crate::pg::error::notify(pgrx::PgLogLevel::NOTICE, &notice);
}
