//! Copies of schemas on two nodes: what a migration calls on the node that it moves to.

use crate::error::{Error, OrRaise, Result};
use crate::migration::pull::{self, Address, Pulled, Request};
use crate::pg::copy_from::Format;
use crate::pg::privileges;
use crate::transaction;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use pgrx::prelude::*;

type Counts = TableIterator<'static, (name!(rows, i64), name!(bytes, i64))>;

/// Copies rows of a table from another server into the same table here.
#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments)] // the SQL function's
fn helios_pull_rows(
    source: pgrx::JsonB,
    snapshot: Option<String>,
    relation: &str,
    columns: Vec<String>,
    from_block: i64,
    to_block: Option<i64>,
    format: Option<&str>,
    rate: Option<i64>,
) -> Counts {
    let pull = || -> Result<Pulled> {
        let _path = transaction::SafePath::begin();
        if !privileges::is_superuser() {
            return Err(Error::new(
                Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
                "must be superuser to pull rows from another server",
            ));
        }
        let address: Address = serde_json::from_value(source.0)
            .map_err(|e| invalid(format!("invalid source: {e}")))?;
        let request = Request {
            table: table(relation)?,
            columns,
            snapshot,
            from: block(from_block)?,
            to: to_block.map(block).transpose()?,
            format: format.map(format_named).transpose()?,
            rate: rate.and_then(|rate| u64::try_from(rate).ok()).filter(|&rate| rate > 0),
        };
        pull::pull(address, &request)
    };
    let Pulled { rows, bytes } = pull().or_raise();
    TableIterator::once((rows as i64, bytes as i64))
}

fn table(name: &str) -> Result<pg_sys::Oid> {
    let select = "SELECT c.oid FROM pg_class c WHERE c.oid = to_regclass($1) AND c.relkind = 'r'";
    crate::pg::sql::read_one::<pg_sys::Oid>(select, &[name.into()])?.ok_or_else(|| {
        Error::new(Code::ERRCODE_UNDEFINED_TABLE, format!("table {name} does not exist")).hint(
            "Rows are copied into ordinary tables and single partitions, named with their schema.",
        )
    })
}

fn block(number: i64) -> Result<u32> {
    u32::try_from(number).map_err(|_| invalid(format!("block {number} does not exist")))
}

fn format_named(name: &str) -> Result<Format> {
    match name {
        "binary" => Ok(Format::Binary),
        "text" => Ok(Format::Text),
        _ => Err(invalid(format!("invalid format \"{name}\""))
            .hint("It is binary or text, or NULL to choose by the types.")),
    }
}

fn invalid(message: String) -> Error {
    Error::new(Code::ERRCODE_INVALID_PARAMETER_VALUE, message)
}
