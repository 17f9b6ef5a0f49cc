//! Functions that create and convert distributed schemas.

use crate::ddl::convert;
use crate::ddl::new_schema::PlacementRequest;
use crate::ddl::schema;
use crate::error::{Error, Result};
use crate::pg::error::OrRaise;
use crate::transaction;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use pgrx::prelude::*;

fn given(schema: Option<&str>) -> Result<&str> {
    match schema {
        None => {
            Err(Error::new(Code::ERRCODE_NULL_VALUE_NOT_ALLOWED, "schema name must not be NULL"))
        }
        Some("") => Err(Error::new(Code::ERRCODE_INVALID_NAME, "invalid schema name: \"\"")
            .hint("A schema name must have 1 to 63 bytes.")),
        Some(name) => Ok(name),
    }
}

/// Creates a distributed schema; returns the name of its node.
#[pg_extern(sql = false)]
fn helios_create_schema(
    schema: Option<&str>,
    node: Option<String>,
    owner: Option<&str>,
    if_not_exists: Option<bool>,
) -> String {
    let request = PlacementRequest { node, ..PlacementRequest::default() };
    given(schema)
        .and_then(|name| schema::create(name, request, owner, if_not_exists.unwrap_or(false)))
        .or_raise()
}

/// Distributes an existing schema; returns the name of its node.
#[pg_extern(sql = false)]
fn helios_distribute_schema(schema: Option<&str>, node: Option<String>) -> String {
    let request = PlacementRequest { node, ..PlacementRequest::default() };
    given(schema).and_then(|name| convert::distribute(name, &request)).or_raise()
}

/// Undistributes a schema: moves it back to the coordinator as a plain schema.
#[pg_extern(sql = false)]
fn helios_undistribute_schema(schema: &str) {
    convert::undistribute(schema).or_raise();
}

type Actions = TableIterator<
    'static,
    (name!(object, String), name!(difference, String), name!(action, String)),
>;

/// Makes the shells of a schema match its node, or shows what would be changed.
#[pg_extern(sql = false)]
fn helios_repair_schema(schema: Option<&str>, dry_run: Option<bool>) -> Actions {
    let repair = || {
        let _path = transaction::SafePath::begin();
        let name = given(schema)?;
        convert::check_owner(name)?;
        crate::cluster::repair::repair(name, dry_run.unwrap_or(false))
    };
    let actions = repair().or_raise();
    TableIterator::new(actions.into_iter().map(|done| (done.object, done.difference, done.action)))
}
