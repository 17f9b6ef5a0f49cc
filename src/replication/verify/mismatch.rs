//! What a comparison of two copies of a table finds.

use crate::error::Result;
use crate::remote::{Rows, Session};
use std::fmt;

/// Mismatches that are kept of one table; all are counted.
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
    /// As SQL needs it.
    pub fn qualified(&self) -> String {
        pgrx::spi::quote_qualified_identifier(&self.schema, &self.name)
    }
}

/// What is wrong with the target's copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MismatchKind {
    /// The row has other values.
    Changed,
    /// The row is not there.
    Missing,
    /// The source has no such row.
    Extra,
    /// The row is there more often than in the source.
    Duplicate,
    /// The table has other columns, or is not there at all.
    Definition,
    /// The sequence has another position.
    Position,
}

impl MismatchKind {
    /// As `helios_mismatches` shows it.
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

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What is wrong.
    pub kind: MismatchKind,
    /// The row's key, as `(columns)=(values)`; the row itself where the table has no key; what differs else.
    pub key: String,
}

/// What the comparison of one table (or sequence) found.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The table.
    pub table: TableName,
    /// Rows in the source's copy.
    pub source_rows: i64,
    /// Rows in the target's copy.
    pub target_rows: i64,
    /// How many differences there are.
    pub count: u64,
    /// The first of them.
    pub kept: Vec<Mismatch>,
}

impl Compared {
    /// A comparison that has found nothing yet.
    pub fn new(table: &TableName) -> Self {
        let (source_rows, target_rows, count, kept) = (0, 0, 0, Vec::new());
        Self { table: table.clone(), source_rows, target_rows, count, kept }
    }

    /// Notes a difference, this many times.
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

/// Runs a query on each end, at the same time.
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
