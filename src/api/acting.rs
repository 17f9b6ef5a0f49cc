//! Lets a session run as another role for a part of a transaction.

use crate::error::{Error, Result};
use crate::pg::catalog::privileges;
use crate::pg::error::OrRaise;
use crate::pg::session::{acting, sql};
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode as Code};
use pgrx::prelude::*;

/// Makes the session run as another role until the end of the subtransaction or transaction.
#[pg_extern(sql = false)]
fn helios_run_as(role: &str) {
    acting::role_named(role).and_then(acting::begin).or_raise();
}

/// Makes the session run as the owner of a relation until the end of the subtransaction or transaction.
#[pg_extern(sql = false)]
fn helios_run_as_owner(relation: &str) {
    owner_of(relation).and_then(acting::begin).or_raise();
}

fn owner_of(relation: &str) -> Result<Oid> {
    let select = "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid";
    let found = sql::in_session_path::<Oid>(select, &[relation.into()])?;
    let missing = || {
        let message = format!("relation {relation} does not exist");
        Error::new(Code::ERRCODE_UNDEFINED_TABLE, message)
    };
    privileges::owner_of_relation(found.ok_or_else(missing)?)
}
