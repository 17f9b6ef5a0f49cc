//! Whether two copies of a table are the same, and which rows are not.
//!
//! Each row counts with a hash over all of its columns, made on the server that has it; a table by the number, the sum
//! and the exclusive or of its rows' hashes, in which no order shows (and, by the sum, no row that is there twice). What
//! a type takes for equal though it is written in another way (1.0 and 1.00, 0 and -0, a month and 30 days) is not the
//! same here. Where tables differ, the rows are divided by their keys, and only rows of parts that differ are compared.
//!
//! Invariant: both sessions are in transactions whose snapshots show the same moment of the two copies. No
//! query that is planned names a table: to plan it would be to run its owner's code (see [`reader`]).

pub mod mismatch;
pub mod narrow;
pub mod reader;
pub mod shape;

use crate::catalog::verification::{self, Verification};
use crate::error::{Error, Result};
use crate::pg::exec::copy_from::PINNED;
use crate::remote::{Rows, Session};
use crate::replication::endpoints::literal;
pub use mismatch::{Compared, TableName};
use mismatch::{Mismatch, MismatchKind, both};
use reader::Reader;
use shape::Shape;

/// Compares tables, with both ends working in parallel. Both sessions must be in REPEATABLE READ transactions whose
/// snapshots show the same point; their settings are changed for the rest of these transactions.
///
/// Errors are those of the nodes; a mismatch is not an error.
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
    // With constraint_exclusion, planning evaluates constant expressions in checks.
    let mut set = "SET LOCAL search_path = pg_catalog; SET LOCAL row_security = off; \
                   SET LOCAL constraint_exclusion = off"
        .to_owned();
    for (name, value) in PINNED {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        set += &format!("; SET LOCAL {name} = '{}'", value.replace(", ", "','"));
    }
    both(source, target, &set, &set).map(|_| ())
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
    let (Some(shape), Some(other)) = (Shape::read(&there)?, Shape::read(&here)?) else {
        let place = if there.is_empty() { "source" } else { "target" };
        compared
            .add(MismatchKind::Definition, 1, || format!("table does not exist on the {place}"));
        return Ok(compared);
    };
    if let Some(difference) = shape.difference(&other) {
        compared.add(MismatchKind::Definition, 1, || difference);
        return Ok(compared);
    }
    let rows = readers.map(|reader| reader.rows(table));
    let [ask_there, ask_here] = rows.each_ref().map(|rows| {
        let hash = shape.row_hash();
        format!(
            "SELECT count(*) AS rows, sum(h), bit_xor(h) FROM (SELECT {hash} AS h FROM {rows}) AS r"
        )
    });
    let (there, here) = both(source, target, &ask_there, &ask_here)?;
    let count = |answer: &Rows| match answer.first() {
        Some(row) => Ok::<_, Error>(row.parsed("rows")?.unwrap_or(0)),
        None => Ok(0),
    };
    (compared.source_rows, compared.target_rows) = (count(&there)?, count(&here)?);
    if there != here {
        narrow::narrow(source, target, &shape, &rows, &mut compared)?;
    }
    Ok(compared)
}

/// The ordinary tables and the sequences of a schema.
pub fn contents(session: &mut Session, schema: &str) -> Result<(Vec<TableName>, Vec<TableName>)> {
    let rows = session.query(&format!(
        "SELECT c.relname, c.relkind = 'S' AS is_sequence FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = {} AND c.relkind IN ('r', 'S') ORDER BY c.relname",
        literal(schema)
    ))?;
    let (mut tables, mut sequences) = (Vec::new(), Vec::new());
    for row in &rows {
        let of_kind = if row.flag("is_sequence")? { &mut sequences } else { &mut tables };
        of_kind.push(TableName { schema: schema.to_owned(), name: row.text("relname")? });
    }
    Ok((tables, sequences))
}

/// Compares the positions of sequences: last_value and is_called.
pub fn compare_sequences(
    source: &mut Session,
    target: &mut Session,
    sequences: &[TableName],
) -> Result<Vec<Compared>> {
    pin(source, target)?;
    let readers = [Reader::of(source)?, Reader::of(target)?];
    let compare = |sequence: &TableName| {
        let mut compared = Compared::new(sequence);
        let there =
            format!("SELECT to_regclass({}) IS NOT NULL AS there", literal(&sequence.qualified()));
        let (one, other) = both(source, target, &there, &there)?;
        for (answer, place) in [(one, "source"), (other, "target")] {
            if !answer.first().map_or(Ok(false), |row| row.flag("there"))? {
                compared.add(MismatchKind::Definition, 1, || {
                    format!("sequence does not exist on the {place}")
                });
                return Ok(compared);
            }
        }
        let [ask_there, ask_here] = readers.map(|reader| reader.position(sequence));
        let (there, here) = both(source, target, &ask_there, &ask_here)?;
        (compared.source_rows, compared.target_rows) = (1, 1);
        if there != here {
            let show = |rows: &Rows| rows.first().map(|row| row_text(row)).unwrap_or_default();
            compared.add(MismatchKind::Position, 1, || {
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
    let values: Vec<_> = row.iter().map(|value| value.as_deref().unwrap_or_default()).collect();
    format!("({})", values.join(", "))
}

/// Replaces the recorded result of a migration's previous comparison. Must be called in a transaction.
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
