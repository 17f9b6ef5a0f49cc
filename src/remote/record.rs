//! Result rows of a server, as text, with column names.

use crate::error::{Error, Result};
use crate::pg::session::sql::{self, TextRows};
use helios_core::frames;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::ops::Deref;
use std::rc::Rc;
use std::str::FromStr;

/// Rows of a result as text.
pub type Rows = Vec<Record>;

/// A result row as text. Values are accessed by column name; as a slice it has them in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    columns: Rc<[String]>,
    values: Vec<Option<String>>,
}

impl Record {
    /// A row with these columns.
    pub fn new(columns: Rc<[String]>, values: Vec<Option<String>>) -> Self {
        Self { columns, values }
    }

    /// The value of the named column; None for NULL.
    pub fn option(&self, column: &str) -> Result<Option<&str>> {
        let at = self.columns.iter().position(|name| name == column);
        let value = at.and_then(|at| self.values.get(at));
        value.map(Option::as_deref).ok_or_else(|| {
            unexpected(format!("column \"{column}\" is missing in the server's response"))
        })
    }

    /// Like [`Self::option`]; empty for NULL.
    pub fn text(&self, column: &str) -> Result<String> {
        Ok(self.option(column)?.unwrap_or_default().to_owned())
    }

    /// The parsed value of a column; None for NULL.
    pub fn parsed<T: FromStr>(&self, column: &str) -> Result<Option<T>> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                unexpected(format!(
                    "unexpected value in column \"{column}\" of the server's response"
                ))
            })
        };
        self.option(column)?.map(parse).transpose()
    }

    /// The value of a boolean column, possibly cast to text; false for NULL.
    pub fn flag(&self, column: &str) -> Result<bool> {
        Ok(matches!(self.option(column)?, Some("t" | "true")))
    }
}

impl Deref for Record {
    type Target = [Option<String>];
    fn deref(&self) -> &Self::Target {
        &self.values
    }
}

impl IntoIterator for Record {
    type Item = Option<String>;
    type IntoIter = std::vec::IntoIter<Option<String>>;
    fn into_iter(self) -> Self::IntoIter {
        self.values.into_iter()
    }
}

/// The rows of a query on this server whose columns are all text, including changes of the current transaction.
pub fn own_rows(query: &str) -> Result<Rows> {
    sql::text_rows(query).map(records)
}

/// Like [`own_rows`], with the snapshot of the current statement.
pub fn read_own_rows(query: &str) -> Result<Rows> {
    sql::read_text_rows(query).map(records)
}

fn records(found: TextRows) -> Rows {
    let columns: Rc<[String]> = found.columns.into();
    found.rows.into_iter().map(|values| Record::new(columns.clone(), values)).collect()
}

/// The values of a row without column names, empty for NULL; the query must return this number of columns.
pub fn cells<const N: usize>(row: impl IntoIterator<Item = Option<String>>) -> Result<[String; N]> {
    let cells: Vec<String> = row.into_iter().map(Option::unwrap_or_default).collect();
    let number = cells.len();
    let other = |_| unexpected(format!("the server's answer has {number} columns instead of {N}"));
    cells.try_into().map_err(other)
}

fn unexpected(message: String) -> Error {
    Error::new(Code::ERRCODE_PROTOCOL_VIOLATION, message)
}

/// Column names in the body of a RowDescription; a truncated one ends early.
pub fn column_names(body: &[u8]) -> Rc<[String]> {
    let columns = frames::described_columns(body).into_iter().flatten().flatten();
    columns.map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect()
}

/// The columns in the body of a DataRow as text; a truncated one ends early.
pub fn text_row(body: &[u8]) -> Vec<Option<String>> {
    let columns = frames::columns(body).into_iter().flatten().flatten();
    columns.map(|c| c.map(|c| String::from_utf8_lossy(c).into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_name() {
        let columns: Rc<[String]> = ["gid".to_owned(), "rows".to_owned(), "done".to_owned()].into();
        let row = Record::new(columns, vec![Some("a".into()), Some("7".into()), None]);
        assert_eq!(row.text("gid").unwrap(), "a");
        assert_eq!(row.parsed::<i64>("rows").unwrap(), Some(7));
        assert_eq!(row.parsed::<i64>("done").unwrap(), None);
        assert!(!row.flag("done").unwrap());
        assert!(row.option("other").is_err());
        assert!(row.parsed::<i64>("gid").is_err());
    }
}
