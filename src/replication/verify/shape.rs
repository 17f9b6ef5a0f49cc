//! A table's columns and key, and the expressions that represent its rows.

use super::mismatch::TableName;
use crate::error::Result;
use crate::remote::Rows;
use crate::replication::endpoints::{identifier, literal};
use pgrx::pg_sys;

/// A column that is not dropped.
#[derive(Debug)]
struct Column {
    name: String,
    /// The type with its modifier, in SQL syntax.
    written: String,
    type_oid: u32,
    in_key: bool,
}

/// The properties of a table that a comparison needs.
#[derive(Debug)]
pub struct Shape {
    columns: Vec<Column>,
}

/// Types whose hash distinguishes any two values with different text. All others are compared as text.
fn tells_apart(type_oid: u32) -> bool {
    matches!(
        pg_sys::Oid::from(type_oid),
        pg_sys::BOOLOID
            | pg_sys::BYTEAOID
            | pg_sys::CHAROID
            | pg_sys::INT2OID
            | pg_sys::INT4OID
            | pg_sys::INT8OID
            | pg_sys::OIDOID
            | pg_sys::DATEOID
            | pg_sys::TIMEOID
            | pg_sys::TIMESTAMPOID
            | pg_sys::TIMESTAMPTZOID
            | pg_sys::UUIDOID
            | pg_sys::XID8OID
    ) || is_string(type_oid)
}

/// A collation may treat different strings as equal.
fn is_string(type_oid: u32) -> bool {
    matches!(
        pg_sys::Oid::from(type_oid),
        pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID | pg_sys::NAMEOID
    )
}

impl Shape {
    /// The query whose rows [`Self::read`] takes: no rows if the table does not exist.
    pub fn query(table: &TableName) -> String {
        format!(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS written, a.atttypid, coalesce(a.attnum = ANY (k.columns), false) AS in_key
               FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                         AND a.attgenerated <> 'v' -- computed when it is read
                    LEFT JOIN LATERAL (
                        SELECT (i.indkey::int2[])[0:i.indnkeyatts - 1] AS columns FROM pg_index i
                         WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
                           AND NOT EXISTS (SELECT FROM pg_attribute n WHERE n.attrelid = c.oid AND NOT n.attnotnull
                                             AND n.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
                         ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1) AS k ON true
              WHERE c.oid = to_regclass({}) ORDER BY a.attnum",
            literal(&table.qualified())
        )
    }

    /// None if the table does not exist.
    pub fn read(rows: &Rows) -> Result<Option<Self>> {
        let mut columns = Vec::new();
        for row in rows {
            // For a table without columns, the result is one row without a name.
            if let Some(name) = row.option("attname")? {
                columns.push(Column {
                    name: name.to_owned(),
                    written: row.text("written")?,
                    type_oid: row.parsed("atttypid")?.unwrap_or(0),
                    in_key: row.flag("in_key")?,
                });
            }
        }
        Ok((!rows.is_empty()).then_some(Self { columns }))
    }

    /// Describes how the target's columns differ, if they do. Their order does not matter.
    pub fn difference(&self, target: &Self) -> Option<String> {
        let lacks = |one: &Self, other: &Self| {
            let same = |a: &Column, b: &Column| a.name == b.name && a.written == b.written;
            let lacked = |a: &&Column| !other.columns.iter().any(|b| same(a, b));
            one.columns
                .iter()
                .find(lacked)
                .map(|a| format!("{} {}", identifier(&a.name), a.written))
        };
        let there = lacks(self, target).map(|column| format!("the target has no column {column}"));
        there.or_else(|| {
            lacks(target, self).map(|column| format!("the source has no column {column}"))
        })
    }

    /// Whether there is a key.
    pub fn has_key(&self) -> bool {
        self.columns.iter().any(|column| column.in_key)
    }

    /// Expression for a row's hash.
    pub fn row_hash(&self) -> String {
        hash(&self.columns.iter().collect::<Vec<_>>(), 0)
    }

    /// Expression for the hash of a row's key, or of the row if there is no key.
    pub fn key_hash(&self) -> String {
        let key = self.key();
        if key.is_empty() { self.row_hash() } else { hash(&key, 1) }
    }

    /// Expression for a row's key as text, or the row itself.
    pub fn key_text(&self) -> String {
        let key = self.key();
        let all = if key.is_empty() { self.columns.iter().collect() } else { key };
        format!("ROW({})::text COLLATE \"C\"", list(&all))
    }

    /// Prefix for the text of a key.
    pub fn key_name(&self) -> String {
        format!("({})", list(&self.key()))
    }

    fn key(&self) -> Vec<&Column> {
        self.columns.iter().filter(|column| column.in_key).collect()
    }
}

fn list(columns: &[&Column]) -> String {
    let names: Vec<_> = columns.iter().map(|column| identifier(&column.name)).collect();
    names.join(", ")
}

/// The types' output functions are called through a record, because a cast could run user-defined code.
fn hash(columns: &[&Column], seed: u32) -> String {
    let (plain, others): (Vec<&Column>, Vec<&Column>) =
        columns.iter().partition(|column| tells_apart(column.type_oid));
    let mut parts: Vec<String> = plain
        .iter()
        .map(|column| {
            let name = identifier(&column.name);
            if is_string(column.type_oid) { format!("{name} COLLATE \"C\"") } else { name }
        })
        .collect();
    if !others.is_empty() {
        parts.push(format!("ROW({})::text COLLATE \"C\"", list(&others)));
    }
    format!("hash_record_extended(ROW({}), {seed})", parts.join(", "))
}
