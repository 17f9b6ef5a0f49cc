//! Distributed schemas without the clause.

use crate::ddl::schema::{self, Wish};
use crate::error::OrRaise;
use pgrx::prelude::*;

/// Makes a distributed schema; gives the name of its node.
#[pg_extern(sql = false)]
fn helios_create_schema(
    schema: &str,
    node: Option<String>,
    owner: Option<&str>,
    if_not_exists: bool,
) -> String {
    schema::create(schema, Wish { node, ..Wish::default() }, owner, if_not_exists).or_raise()
}

/// Makes an existing schema a distributed one; gives the name of its node.
#[pg_extern(sql = false)]
fn helios_distribute_schema(schema: &str, node: Option<String>) -> String {
    schema::distribute(schema, &Wish { node, ..Wish::default() }).or_raise()
}

/// Brings a distributed schema home.
#[pg_extern(sql = false)]
fn helios_undistribute_schema(schema: &str) {
    schema::undistribute(schema).or_raise();
}
