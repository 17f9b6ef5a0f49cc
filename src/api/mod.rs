//! The SQL functions, one file per topic: each checks its arguments, calls the module that does the work, and raises
//! that module's error.
//!
//! Invariant: no decisions are made here that another caller of the same work would have to repeat. Lock order: none of
//! its own.

pub mod acting;
pub mod cluster;
pub mod import;
pub mod migration_target;
pub mod migrations;
pub mod nodes;
pub mod placement;
pub mod rebalance;
pub mod reference_tables;
pub mod replicas;
pub mod schemas;
pub mod shards;
pub mod statistics;
pub mod transactions;

use crate::error::{Error, Result};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// The elements of an array, none of them NULL (22004). A NULL array is an empty one.
fn elements(array: Option<pgrx::Array<'_, String>>, name: &str) -> Result<Vec<String>> {
    let Some(array) = array else { return Ok(Vec::new()) };
    array.iter().map(|element| given_element(element, name)).collect()
}

fn given_element(element: Option<String>, name: &str) -> Result<String> {
    element.ok_or_else(|| {
        Error::new(
            Code::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            format!("argument \"{name}\" must not contain NULL"),
        )
    })
}

/// An argument that must not be NULL (22004).
fn given<T>(value: Option<T>, name: &str) -> Result<T> {
    value.ok_or_else(|| {
        Error::new(
            Code::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            format!("argument \"{name}\" must not be NULL"),
        )
        .hint(format!("Specify a value for {name}."))
    })
}
