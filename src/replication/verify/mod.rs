//! Whether two copies of a table are the same, and which rows are not.
//!
//! Each row counts with a hash over all of its columns, made on the server that has it; a table by the number, the sum
//! and the exclusive or of its rows' hashes, in which no order shows (and, by the sum, no row that is there twice). What
//! a type takes for equal though it is written in another way (1.0 and 1.00, 0 and -0, a month and 30 days) is not the
//! same here. Where tables differ, the rows are divided by their keys, and only rows of parts that differ are compared.
//!
//! Invariant: both sessions are in transactions whose snapshots show the same moment of the two copies. No
//! query that is planned names a table: to plan it would be to run its owner's code (see [`reader`]).

pub mod narrow;
pub mod reader;
pub mod shape;

use crate::catalog::verification::{self, Verification};
use crate::error::Result;
use crate::pg::exec::copy_from::PINNED;
use crate::remote::{Record, Rows, Session};
use crate::replication::endpoints::{column, flag, literal, text};
use reader::Reader;
use shape::Shape;
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
pub enum Kind {
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

impl Kind {
    /// As `helios_mismatches` shows it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Changed => "changed",
            Kind::Missing => "missing",
            Kind::Extra => "extra",
            Kind::Duplicate => "duplicate",
            Kind::Definition => "definition",
            Kind::Position => "position",
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What is wrong.
    pub kind: Kind,
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
    fn new(table: &TableName) -> Self {
        let (source_rows, target_rows, count, kept) = (0, 0, 0, Vec::new());
        Self { table: table.clone(), source_rows, target_rows, count, kept }
    }

    /// Notes a difference, this many times.
    fn add(&mut self, kind: Kind, times: u64, key: impl FnOnce() -> String) {
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

/// Compares tables, both ends at work at the same time. Both sessions are inside transactions at REPEATABLE READ whose
/// snapshots are of the same moment; their settings are changed for the rest of these.
///
/// Errors are those of the nodes; a difference is none.
pub fn compare(
    source: &mut Session,
    target: &mut Session,
    tables: &[TableName],
) -> Result<Vec<Compared>> {
    pin(source, target)?;
    let readers = [Reader::of(source)?, Reader::of(target)?];
    tables.iter().map(|table| one(source, target, readers, table)).collect()
}

fn pin(source: &mut Session, target: &mut Session) -> Result<()> {
    // With constraint_exclusion, planning computes what is constant in checks.
    let mut set = "SET LOCAL search_path = pg_catalog; SET LOCAL row_security = off; \
                   SET LOCAL constraint_exclusion = off"
        .to_owned();
    for (name, value) in PINNED {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        set += &format!("; SET LOCAL {name} = '{}'", value.replace(", ", "','"));
    }
    both(source, target, &set, &set).map(|_| ())
}

/// Runs a query on each end, at the same time.
fn both(
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

fn one(
    source: &mut Session,
    target: &mut Session,
    readers: [Reader; 2],
    table: &TableName,
) -> Result<Compared> {
    let mut compared = Compared::new(table);
    let ask = Shape::query(table);
    let (there, here) = both(source, target, &ask, &ask)?;
    let (Some(shape), Some(other)) = (Shape::read(&there), Shape::read(&here)) else {
        let place = if there.is_empty() { "source" } else { "target" };
        compared.add(Kind::Definition, 1, || format!("there is no such table on the {place}"));
        return Ok(compared);
    };
    if let Some(difference) = shape.difference(&other) {
        compared.add(Kind::Definition, 1, || difference);
        return Ok(compared);
    }
    let rows = readers.map(|reader| reader.rows(table));
    let [ask_there, ask_here] = rows.each_ref().map(|rows| {
        let hash = shape.row_hash();
        format!("SELECT count(*), sum(h), bit_xor(h) FROM (SELECT {hash} AS h FROM {rows}) AS r")
    });
    let (there, here) = both(source, target, &ask_there, &ask_here)?;
    let count = |answer: &Rows| answer.first().and_then(|row| column(row, 0)).unwrap_or(0);
    (compared.source_rows, compared.target_rows) = (count(&there), count(&here));
    if there != here {
        narrow::narrow(source, target, &shape, &rows, &mut compared)?;
    }
    Ok(compared)
}

/// The ordinary tables and the sequences of a schema.
pub fn contents(session: &mut Session, schema: &str) -> Result<(Vec<TableName>, Vec<TableName>)> {
    let rows = session.query(&format!(
        "SELECT c.relname, c.relkind = 'S' FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = {} AND c.relkind IN ('r', 'S') ORDER BY c.relname",
        literal(schema)
    ))?;
    let (sequences, tables): (Vec<_>, Vec<_>) = rows.iter().partition(|row| flag(row, 1));
    let name = |row: &Record| TableName { schema: schema.to_owned(), name: text(row, 0) };
    Ok((tables.into_iter().map(name).collect(), sequences.into_iter().map(name).collect()))
}

/// Compares the positions of sequences: last value, and whether it was given out.
pub fn compare_sequences(
    source: &mut Session,
    target: &mut Session,
    sequences: &[TableName],
) -> Result<Vec<Compared>> {
    pin(source, target)?;
    let readers = [Reader::of(source)?, Reader::of(target)?];
    let compare = |sequence: &TableName| {
        let mut compared = Compared::new(sequence);
        let there = format!("SELECT to_regclass({}) IS NOT NULL", literal(&sequence.qualified()));
        let (one, other) = both(source, target, &there, &there)?;
        for (answer, place) in [(one, "source"), (other, "target")] {
            if !answer.first().is_some_and(|row| flag(row, 0)) {
                compared.add(Kind::Definition, 1, || {
                    format!("there is no such sequence on the {place}")
                });
                return Ok(compared);
            }
        }
        let [ask_there, ask_here] = readers.map(|reader| reader.position(sequence));
        let (there, here) = both(source, target, &ask_there, &ask_here)?;
        (compared.source_rows, compared.target_rows) = (1, 1);
        if there != here {
            let show = |rows: &Rows| rows.first().map(|row| row_text(row)).unwrap_or_default();
            compared.add(Kind::Position, 1, || {
                format!(
                    "last_value, is_called: {} on the source, {} on the target",
                    show(&there),
                    show(&here)
                )
            });
        }
        Ok(compared)
    };
    sequences.iter().map(compare).collect()
}

fn row_text(row: &[Option<String>]) -> String {
    let values: Vec<_> = (0..row.len()).map(|at| text(row, at)).collect();
    format!("({})", values.join(", "))
}

/// Puts what was found in the place of what was found for this migration before. To be called in a transaction.
pub fn record(migration: i64, all: &[Compared]) -> Result<()> {
    verification::forget(migration)?;
    for Compared { table, source_rows, target_rows, count, kept } in all {
        let found = Verification {
            schema: &table.schema,
            relation: &table.name,
            source_rows: *source_rows,
            target_rows: *target_rows,
            mismatches: i64::try_from(*count).unwrap_or(i64::MAX),
        };
        verification::insert(migration, &found)?;
        for Mismatch { kind, key } in kept {
            verification::insert_mismatch(migration, &found, kind.name(), key)?;
        }
    }
    Ok(())
}
