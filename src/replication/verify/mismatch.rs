//! Result of comparing two copies of a table.

use crate::error::Result;
use crate::remote::{Rows, Session};
use std::fmt;

/// Mismatches recorded per table; all are counted.
const KEPT: usize = 100;

/// A table, the same on both ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// Its schema.
    pub schema: String,
    /// Its own name.
    pub name: String,
}

impl TableName {
    /// The qualified name, quoted for SQL.
    pub fn qualified(&self) -> String {
        pgrx::spi::quote_qualified_identifier(&self.schema, &self.name)
    }
}

/// The kind of a mismatch in the target's copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MismatchKind {
    /// The row has different values.
    Changed,
    /// The row is missing.
    Missing,
    /// The row does not exist on the source.
    Extra,
    /// The row occurs more often than on the source.
    Duplicate,
    /// The table has different columns or does not exist.
    Definition,
    /// The sequence has a different position.
    Position,
}

impl MismatchKind {
    /// The name shown by `helios_mismatches`.
    pub fn name(self) -> &'static str {
        match self {
            MismatchKind::Changed => "changed",
            MismatchKind::Missing => "missing",
            MismatchKind::Extra => "extra",
            MismatchKind::Duplicate => "duplicate",
            MismatchKind::Definition => "definition",
            MismatchKind::Position => "position",
        }
    }
}

/// One mismatch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The kind of mismatch.
    pub kind: MismatchKind,
    /// The row's key, as `(columns)=(values)`; the row itself if the table has no key; otherwise the difference.
    pub key: String,
}

/// Result of comparing one table or sequence.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The table.
    pub table: TableName,
    /// Rows in the source's copy.
    pub source_rows: i64,
    /// Rows in the target's copy.
    pub target_rows: i64,
    /// Number of mismatches.
    pub count: u64,
    /// The first mismatches.
    pub kept: Vec<Mismatch>,
}

impl Compared {
    /// A comparison without mismatches.
    pub fn new(table: &TableName) -> Self {
        let (source_rows, target_rows, count, kept) = (0, 0, 0, Vec::new());
        Self { table: table.clone(), source_rows, target_rows, count, kept }
    }

    /// Adds a mismatch, with its number of occurrences.
    pub fn add(&mut self, kind: MismatchKind, times: u64, key: impl FnOnce() -> String) {
        if times == 0 {
            return;
        }
        self.count += times;
        if self.kept.len() < KEPT {
            self.kept.push(Mismatch { kind, key: key() });
        }
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} differences", self.table.qualified(), self.count)?;
        for (i, Mismatch { kind, key }) in self.kept.iter().take(3).enumerate() {
            write!(f, "{} {} {key}", if i == 0 { ":" } else { "," }, kind.name())?;
        }
        Ok(())
    }
}

/// Runs a query on each end in parallel.
pub fn both(
    source: &mut Session,
    target: &mut Session,
    one: &str,
    other: &str,
) -> Result<(Rows, Rows)> {
    source.start_query(one)?;
    target.start_query(other)?;
    let there = source.finish_query();
    if there.is_err() && target.is_busy() {
        target.request_cancel();
    }
    let here = target.finish_query();
    Ok((there?, here?))
}
