//! Rows that a server answers with, as text under the names of their columns.

use crate::error::{Error, Result};
use helios_core::frames;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::ops::Deref;
use std::rc::Rc;
use std::str::FromStr;

/// Rows of a result as text.
pub type Rows = Vec<Record>;

/// A row of a result as text. Its values are read by the names of their columns; as a slice it has them in order.
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

    /// The value of the column of this name; None for NULL.
    pub fn option(&self, column: &str) -> Result<Option<&str>> {
        let at = self.columns.iter().position(|name| name == column);
        let value = at.and_then(|at| self.values.get(at));
        value.map(Option::as_deref).ok_or_else(|| {
            unexpected(format!("column \"{column}\" is missing in the server's response"))
        })
    }

    /// As [`Self::option`]; empty for NULL.
    pub fn text(&self, column: &str) -> Result<String> {
        Ok(self.option(column)?.unwrap_or_default().to_owned())
    }

    /// The value of a column that is a number or the like; None for NULL.
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

    /// The value of a boolean column; false for NULL.
    pub fn flag(&self, column: &str) -> Result<bool> {
        Ok(self.option(column)? == Some("t"))
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

fn unexpected(message: String) -> Error {
    Error::new(Code::ERRCODE_PROTOCOL_VIOLATION, message)
}

/// Names of the columns that a RowDescription's body tells of; one that is cut short ends early.
pub fn column_names(body: &[u8]) -> Rc<[String]> {
    let columns = frames::described_columns(body).into_iter().flatten().flatten();
    columns.map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect()
}

/// The columns of a DataRow body as text; a body that is cut short ends early.
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
