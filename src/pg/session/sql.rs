//! Internal SQL on this server (SPI). Our own errors are returned as values; PostgreSQL's errors are raised.
//!
//! Invariant: unqualified names in internal queries refer to PostgreSQL's own objects, whoever runs them and whatever
//! precedes `pg_catalog` in `search_path` or is temporary. Names given by users are looked up by [`in_session_path`].

use crate::error::{Error, Result};
use crate::pg::session::own_settings::OwnSettings;
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use pgrx::spi::{SpiHeapTupleData, SpiResult, SpiTupleTable};
use pgrx::{FromDatum, IntoDatum, Spi};

/// A row of a result, whose values are read by column name.
pub struct Row<'a>(SpiHeapTupleData<'a>);

impl Row<'_> {
    /// The named column as the requested type; None for NULL.
    pub fn option<T: FromDatum + IntoDatum>(&self, column: &str) -> Result<Option<T>> {
        checked(self.0.get_by_name(column))
    }

    /// Like [`Self::option`]; XX001 for NULL.
    pub fn value<T: FromDatum + IntoDatum>(&self, column: &str) -> Result<T> {
        self.option(column)?.ok_or_else(|| {
            Error::new(Code::ERRCODE_DATA_CORRUPTED, format!("null value in column \"{column}\""))
        })
    }
}

/// Runs a statement without a result. All its names must be qualified, because settings that it changes are to last.
pub fn run(statement: &str, arguments: &[DatumWithOid<'_>]) -> Result<()> {
    checked(Spi::connect_mut(|client| client.update(statement, None, arguments).map(|_| ())))
}

/// Like [`run`], for a statement that changes rows; returns their number.
pub fn change(statement: &str) -> Result<u64> {
    checked(Spi::connect_mut(|client| {
        client.update(statement, None, &[]).map(|changed| changed.len() as u64)
    }))
}

/// The first column of the first row; None without rows.
pub fn one<T: FromDatum + IntoDatum>(
    statement: &str,
    arguments: &[DatumWithOid<'_>],
) -> Result<Option<T>> {
    let _path = OwnSettings::safe_path();
    checked(Spi::connect_mut(|client| {
        let rows = client.update(statement, Some(1), arguments)?;
        if rows.is_empty() { Ok(None) } else { rows.first().get(1) }
    }))
}

/// Like [`one`], for a read-only query: with the snapshot of the current statement, and without assigning a transaction
/// ID, which would mean that the transaction has written here.
pub fn read_one<T: FromDatum + IntoDatum>(
    query: &str,
    arguments: &[DatumWithOid<'_>],
) -> Result<Option<T>> {
    let _path = OwnSettings::safe_path();
    in_session_path(query, arguments)
}

/// Like [`read_one`], with the session's own `search_path`, for names given by users. All other names in the query are
/// qualified.
pub fn in_session_path<T: FromDatum + IntoDatum>(
    query: &str,
    arguments: &[DatumWithOid<'_>],
) -> Result<Option<T>> {
    checked(Spi::connect(|client| {
        let rows = client.select(query, Some(1), arguments)?;
        if rows.is_empty() { Ok(None) } else { rows.first().get(1) }
    }))
}

/// Like [`rows`], for a read-only query; see [`read_one`].
pub fn read_rows<T>(
    query: &str,
    arguments: &[DatumWithOid<'_>],
    mut read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let _path = OwnSettings::safe_path();
    Spi::connect(|client| {
        let rows = checked(client.select(query, None, arguments))?;
        rows.map(|row| read(&Row(row))).collect()
    })
}

/// Returns the result of `read` for each row.
pub fn rows<T>(
    statement: &str,
    arguments: &[DatumWithOid<'_>],
    mut read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let _path = OwnSettings::safe_path();
    Spi::connect_mut(|client| {
        let rows = checked(client.update(statement, None, arguments))?;
        rows.map(|row| read(&Row(row))).collect()
    })
}

/// Rows whose columns are all text, with the column names.
pub struct TextRows {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Option<String>>>,
}

/// Like [`rows`], for columns that are all text.
pub fn text_rows(statement: &str) -> Result<TextRows> {
    let _path = OwnSettings::safe_path();
    checked(Spi::connect_mut(|client| texts(client.update(statement, None, &[])?)))
}

/// Like [`text_rows`], for a query that only reads; see [`read_one`].
pub fn read_text_rows(query: &str) -> Result<TextRows> {
    let _path = OwnSettings::safe_path();
    checked(Spi::connect(|client| texts(client.select(query, None, &[])?)))
}

fn texts(found: SpiTupleTable<'_>) -> SpiResult<TextRows> {
    let numbers = 1..=found.columns()?;
    let columns = numbers.clone().map(|at| found.column_name(at)).collect::<SpiResult<_>>()?;
    let row = |row: SpiHeapTupleData<'_>| numbers.clone().map(|at| row.get(at)).collect();
    Ok(TextRows { columns, rows: found.map(row).collect::<SpiResult<_>>()? })
}

fn checked<T>(result: SpiResult<T>) -> Result<T> {
    result.map_err(|error| {
        Error::new(
            Code::ERRCODE_INTERNAL_ERROR,
            format!("cannot read or write the catalogs of helios: {error}"),
        )
    })
}
