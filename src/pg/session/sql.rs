//! SQL of our own against this server (SPI), with errors as values where they are ours, and raised where
//! they are PostgreSQL's.
//!
//! Invariant: what a query of ours leaves unqualified is PostgreSQL's own, whoever runs it and whatever is in front of
//! `pg_catalog` on the `search_path`, or temporary. Names that users give are looked up by [`in_session_path`].

use crate::error::{Error, Result};
use crate::pg::session::own_settings::OwnSettings;
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use pgrx::spi::{SpiHeapTupleData, SpiResult};
use pgrx::{FromDatum, IntoDatum, Spi};

/// One row of a result, copied out of it.
pub struct Row<'a>(SpiHeapTupleData<'a>);

impl Row<'_> {
    /// A column (from 1) as the type asked for; None for NULL.
    pub fn get<T: FromDatum + IntoDatum>(&self, column: usize) -> Result<Option<T>> {
        checked(self.0.get::<T>(column))
    }

    /// The column of this name as the type asked for; None for NULL.
    pub fn option<T: FromDatum + IntoDatum>(&self, column: &str) -> Result<Option<T>> {
        checked(self.0.get_by_name(column))
    }

    /// As [`Self::option`]; XX001 for NULL.
    pub fn value<T: FromDatum + IntoDatum>(&self, column: &str) -> Result<T> {
        self.option(column)?.ok_or_else(|| {
            Error::new(Code::ERRCODE_DATA_CORRUPTED, format!("null value in column \"{column}\""))
        })
    }
}

/// Runs a statement for its effect. It names everything in full: settings that it changes are to last.
pub fn run(statement: &str, arguments: &[DatumWithOid<'_>]) -> Result<()> {
    checked(Spi::connect_mut(|client| client.update(statement, None, arguments).map(|_| ())))
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

/// As [`one`], for a query that only reads: with the snapshot of the statement under way, and without giving the
/// transaction an id, which would make it one that has written here.
pub fn read_one<T: FromDatum + IntoDatum>(
    query: &str,
    arguments: &[DatumWithOid<'_>],
) -> Result<Option<T>> {
    let _path = OwnSettings::safe_path();
    in_session_path(query, arguments)
}

/// As [`read_one`], under the session's own `search_path`: for names that users write. Everything else in the query is
/// named in full.
pub fn in_session_path<T: FromDatum + IntoDatum>(
    query: &str,
    arguments: &[DatumWithOid<'_>],
) -> Result<Option<T>> {
    checked(Spi::connect(|client| {
        let rows = client.select(query, Some(1), arguments)?;
        if rows.is_empty() { Ok(None) } else { rows.first().get(1) }
    }))
}

/// As [`rows`], for a query that only reads; see [`read_one`].
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

/// What `read` makes of each row.
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

fn checked<T>(result: SpiResult<T>) -> Result<T> {
    result.map_err(|error| {
        Error::new(
            Code::ERRCODE_INTERNAL_ERROR,
            format!("cannot read or write the catalogs of helios: {error}"),
        )
    })
}
