//! Functions that a migration calls on its target node.

use super::{elements, given};
use crate::error::{Error, Result};
use crate::pg::catalog::privileges;
use crate::pg::error::OrRaise;
use crate::pg::exec::copy_from::Format;
use crate::pg::exec::function_call::FunctionCall;
use crate::pg::exec::row_scan;
use crate::pg::exec::table_rows::TableRows;
use crate::pg::session;
use crate::replication::pull::{self, Address, Pulled, Request};
use crate::replication::verify::{self, Compared};
use crate::transaction;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use pgrx::prelude::*;

type Counts = TableIterator<'static, (name!(rows, i64), name!(bytes, i64))>;

/// Copies rows of a table from another server into the same table on this one.
#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments)] // the SQL function's
fn helios_pull_rows(
    source: Option<pgrx::JsonB>,
    snapshot: Option<String>,
    relation: Option<&str>,
    columns: Option<Array<'_, String>>,
    from_block: Option<i64>,
    to_block: Option<i64>,
    format: Option<&str>,
    rate: Option<i64>,
    bulk: Option<bool>,
) -> Counts {
    let pull = || -> Result<Pulled> {
        let _path = transaction::SafePath::begin();
        require_superuser()?;
        let address = address(given(source, "source")?)?;
        let request = Request {
            table: table(given(relation, "relation")?)?,
            columns: elements(columns, "columns")?,
            snapshot,
            from: block(given(from_block, "from_block")?)?,
            to: to_block.map(block).transpose()?,
            format: format.map(format_named).transpose()?,
            rate: rate.and_then(|rate| u64::try_from(rate).ok()).filter(|&rate| rate > 0),
            bulk: bulk.unwrap_or(false),
        };
        pull::pull(address, &request)
    };
    let Pulled { rows, bytes } = pull().or_raise();
    TableIterator::once((rows as i64, bytes as i64))
}

type Differences = TableIterator<
    'static,
    (
        name!(relation, String),
        name!(source_rows, i64),
        name!(target_rows, i64),
        name!(mismatches, i64),
        name!(kind, Option<String>),
        name!(key, Option<String>),
    ),
>;

/// Compares the tables and sequences of a schema on two servers, without concurrent writes.
#[pg_extern(sql = false)]
fn helios_compare_copies(source: pgrx::JsonB, target: pgrx::JsonB, schema: &str) -> Differences {
    let compare = || -> Result<Vec<Compared>> {
        let _path = transaction::SafePath::begin();
        require_superuser()?;
        let (mut source, mut target) = (address(source)?.connect()?, address(target)?.connect()?);
        for session in [&mut source, &mut target] {
            session.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        }
        let (tables, sequences) = verify::contents(&mut source, schema)?;
        let mut all = verify::compare(&mut source, &mut target, &tables)?;
        all.extend(verify::compare_sequences(&mut source, &mut target, &sequences)?);
        Ok(all)
    };
    TableIterator::new(compare().or_raise().into_iter().flat_map(rows_of))
}

/// A result row: the table, its number of rows on both sides, the number of mismatches, and one of them.
type Row = (String, i64, i64, i64, Option<String>, Option<String>);

fn rows_of(compared: Compared) -> Vec<Row> {
    let relation = compared.table.qualified();
    let (there, here) = (compared.source_rows, compared.target_rows);
    let count = i64::try_from(compared.count).unwrap_or(i64::MAX);
    let row = |kind, key| (relation.clone(), there, here, count, kind, key);
    if compared.kept.is_empty() {
        return vec![row(None, None)];
    }
    let kept = compared.kept.into_iter();
    kept.map(|found| row(Some(found.kind.name().to_owned()), Some(found.key))).collect()
}

/// All rows of the table of the argument's row type.
#[pg_extern(sql = false)]
fn helios_table_rows(
    _row: Option<pgrx::AnyElement>,
    call: FunctionCall<'_>,
) -> SetOfIterator<'static, pgrx::AnyElement> {
    let begin = || -> Result<TableRows> {
        require_superuser()?;
        Ok(TableRows::of(call.table_of_argument(0)?))
    };
    SetOfIterator::new(begin().or_raise())
}

/// Whether a table has rows.
#[pg_extern(sql = false)]
fn helios_has_rows(relation: &str) -> bool {
    table_of_superuser(relation).map(row_scan::has_rows).or_raise()
}

/// Deletes all rows of a table without firing triggers; returns their number.
#[pg_extern(sql = false)]
fn helios_delete_rows(relation: &str) -> i64 {
    table_of_superuser(relation).map(row_scan::delete_all).or_raise() as i64
}

fn table_of_superuser(name: &str) -> Result<pg_sys::Oid> {
    let _path = transaction::SafePath::begin();
    require_superuser().and_then(|()| table(name))
}

/// The position of a sequence: last_value and is_called.
#[pg_extern(sql = false)]
fn helios_sequence_position(
    sequence: pgrx::pg_sys::Oid,
) -> TableIterator<'static, (name!(last_value, Option<String>), name!(is_called, Option<String>))> {
    let read = || -> Result<(Option<String>, Option<String>)> {
        require_superuser()?;
        let mut position = (None, None);
        row_scan::each_of_sequence(sequence, |row| {
            let text = |at: usize| row.get(at)?.as_deref().map(String::from_utf8_lossy);
            position = (text(0).map(String::from), text(2).map(String::from));
            Ok(())
        })?;
        Ok(position)
    };
    TableIterator::once(read().or_raise())
}

/// Free bytes for this server's user in the file system of the database's files.
#[pg_extern(sql = false)]
fn helios_free_bytes() -> i64 {
    let ask = || -> Result<i64> {
        require_superuser()?;
        let directory = session::database_directory();
        let stat = rustix::fs::statvfs(&directory).map_err(|error| {
            let message =
                format!("could not get disk usage of \"{}\": {error}", directory.display());
            Error::new(Code::ERRCODE_IO_ERROR, message)
        })?;
        Ok(i64::try_from(stat.f_bavail.saturating_mul(stat.f_frsize)).unwrap_or(i64::MAX))
    };
    ask().or_raise()
}

fn require_superuser() -> Result<()> {
    if privileges::is_superuser() {
        return Ok(());
    }
    Err(Error::new(
        Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
        "must be superuser to access the copies of a migration",
    ))
}

fn address(json: pgrx::JsonB) -> Result<Address> {
    serde_json::from_value(json.0).map_err(|e| invalid(format!("invalid server address: {e}")))
}

fn table(name: &str) -> Result<pg_sys::Oid> {
    let select = "SELECT c.oid FROM pg_class c WHERE c.oid = to_regclass($1) AND c.relkind = 'r'";
    crate::pg::session::sql::read_one::<pg_sys::Oid>(select, &[name.into()])?.ok_or_else(|| {
        Error::new(Code::ERRCODE_UNDEFINED_TABLE, format!("table {name} does not exist"))
            .hint("The target must be the qualified name of an ordinary table or a partition.")
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
            .hint("Valid formats are binary and text; NULL selects one by the data types.")),
    }
}

fn invalid(message: String) -> Error {
    Error::new(Code::ERRCODE_INVALID_PARAMETER_VALUE, message)
}
