//! Reference tables.

use crate::ddl::reference_table;
use crate::error::{self, Error};
use crate::executor::coordinator_request;
use crate::pg::error::OrRaise;
use crate::pg::session::sql;
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode as Code};
use pgrx::prelude::*;

/// The named table; 42P01 if it does not exist. The argument is not a `regclass`, because the planner would take such a
/// constant as a reference to the table, and send the statement to the node of a distributed one.
fn given(table: Option<&str>) -> error::Result<Oid> {
    let missing =
        || Error::new(Code::ERRCODE_NULL_VALUE_NOT_ALLOWED, "table name must not be NULL");
    let name = table.ok_or_else(missing)?;
    let found = sql::in_session_path::<Oid>(
        "SELECT $1::pg_catalog.regclass::pg_catalog.oid",
        &[name.into()],
    )?;
    found.ok_or_else(missing)
}

/// Copies a table, with its rows, to every node.
#[pg_extern(sql = false)]
fn helios_create_reference_table(table: Option<&str>) {
    given(table).and_then(reference_table::create).or_raise();
}

/// Turns a reference table into an ordinary table on this server.
#[pg_extern(sql = false)]
fn helios_undistribute_table(table: Option<&str>) {
    given(table).and_then(reference_table::undistribute).or_raise();
}

/// Number of rows of a table and the sum of their hashes.
#[pg_extern(sql = false)]
fn helios_reference_digest(reference: Oid) -> String {
    reference_table::require_reader(reference)
        .and_then(|()| reference_table::digest_of(reference))
        .or_raise()
}

/// Issues a nonce for one request of the coordinator to change the copy of a reference table on this node.
#[pg_extern(sql = false)]
fn helios_change_number() -> String {
    coordinator_request::give_number().or_raise()
}

/// Makes the session run as another role at the coordinator's request, until the end of the subtransaction or
/// transaction.
#[pg_extern(sql = false)]
fn helios_run_on_request(role: &str, signature: &str) {
    coordinator_request::accept_run_as(role, signature).or_raise();
}
