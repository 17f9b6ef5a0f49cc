//! Sequence positions on a replica whose primary is lost: values that the primary generated after the last transfer of
//! positions must not be generated again.
//!
//! Invariant: no tenants' code runs with the migration's privileges. Column values are read as the tables' owner, and
//! by a plain scan where that fails; relations are identified by OID.

use crate::error::Result;
use crate::pg::catalog::privileges::RunAs;
use crate::pg::exec::row_scan;
use crate::pg::session::{self, sql, subtransaction};
use pgrx::pg_sys::Oid;

/// A sequence and its bounds.
struct Sequence {
    relation: Oid,
    increment: i128,
    least: i128,
    greatest: i128,
}

/// A column of an ordinary table whose values come from a sequence.
struct Column {
    table: Oid,
    number: usize,
    name: String,
}

/// Advances the sequences of schemas past their last known position and past all column values, plus `margin` values,
/// but at most a hundredth of a sequence's range; returns their number.
pub fn advance_sequences(schemas: &[String], margin: i64) -> Result<i64> {
    let sequences = sequences(schemas)?;
    for sequence in &sequences {
        let mut place = position(sequence)?;
        for column in columns(sequence.relation)? {
            let found = furthest(&column, sequence.increment > 0)?;
            // Values chosen by users may be outside of the range.
            let within = found.filter(|found| (sequence.least..=sequence.greatest).contains(found));
            place = within.map_or(place, |found| further(sequence, place, found));
        }
        let all = (sequence.greatest - sequence.least) / sequence.increment.abs();
        // A sequence that cycles may repeat values anyway; others reach their end rather than repeat.
        place += i128::from(margin).min(all / 100) * sequence.increment;
        let place = place.clamp(sequence.least, sequence.greatest);
        let place = i64::try_from(place).unwrap_or(i64::MAX);
        let set = "SELECT pg_catalog.setval($1::pg_catalog.regclass, $2, true)";
        sql::run(set, &[sequence.relation.into(), place.into()])?;
    }
    Ok(i64::try_from(sequences.len()).unwrap_or(i64::MAX))
}

fn further(sequence: &Sequence, one: i128, other: i128) -> i128 {
    if sequence.increment > 0 { one.max(other) } else { one.min(other) }
}

fn sequences(schemas: &[String]) -> Result<Vec<Sequence>> {
    let select =
        "SELECT q.seqrelid, q.seqincrement, q.seqmin, q.seqmax FROM pg_catalog.pg_sequence q
                    JOIN pg_catalog.pg_class k ON k.oid = q.seqrelid
                    JOIN pg_catalog.pg_namespace n ON n.oid = k.relnamespace
                   WHERE n.nspname::pg_catalog.text = ANY ($1)";
    sql::rows(select, &[schemas.to_vec().into()], |row| {
        let number = |column| row.value::<i64>(column).map(i128::from);
        Ok(Sequence {
            relation: row.value("seqrelid")?,
            increment: number("seqincrement")?,
            least: number("seqmin")?,
            greatest: number("seqmax")?,
        })
    })
}

/// The last value of a sequence; its single row is read like a table's.
fn position(sequence: &Sequence) -> Result<i128> {
    let mut last = None;
    row_scan::each(sequence.relation, |row| {
        last = row.first().and_then(Option::as_ref).and_then(|value| whole(value));
        Ok(())
    })?;
    Ok(last.unwrap_or(sequence.least))
}

/// Columns whose defaults use a sequence, or that own it, in tables, partitions and children with storage.
fn columns(sequence: Oid) -> Result<Vec<Column>> {
    let select = "WITH RECURSIVE uses(relation, name) AS (
             SELECT d.refobjid, a.attname FROM pg_catalog.pg_depend d
               JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
              WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = $1
                AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
             UNION
             SELECT f.adrelid, a.attname FROM pg_catalog.pg_depend d
               JOIN pg_catalog.pg_attrdef f ON f.oid = d.objid
               JOIN pg_catalog.pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
              WHERE d.classid = 'pg_catalog.pg_attrdef'::regclass
                AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = $1
             UNION
             SELECT i.inhrelid, u.name FROM uses u JOIN pg_catalog.pg_inherits i ON i.inhparent = u.relation)
         SELECT c.oid, a.attnum::pg_catalog.int4 AS number, pg_catalog.quote_ident(a.attname) AS name FROM uses u
           JOIN pg_catalog.pg_class c ON c.oid = u.relation AND c.relkind = 'r'
           JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = u.name AND NOT a.attisdropped
           JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
          WHERE CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END IN (
                'pg_catalog.int2'::regtype, 'pg_catalog.int4'::regtype, 'pg_catalog.int8'::regtype, 'pg_catalog.numeric'::regtype)";
    sql::rows(select, &[sequence.into()], |row| {
        Ok(Column {
            table: row.value("oid")?,
            number: usize::try_from(row.value::<i32>("number")? - 1).unwrap_or_default(),
            name: row.value("name")?,
        })
    })
}

/// The extreme value of a column in the sequence's direction.
fn furthest(column: &Column, upward: bool) -> Result<Option<i128>> {
    let function = if upward { "max" } else { "min" };
    let select = format!(
        "SELECT pg_catalog.{function}({})::pg_catalog.numeric::pg_catalog.text FROM ONLY {}",
        column.name,
        session::quoted_relation_name(column.table)
    );
    let asked = subtransaction::attempt(|| {
        let _as_owner = RunAs::owner_of(column.table)?;
        sql::one::<String>(&select, &[])
    });
    if let Ok(found) = asked {
        return Ok(found.and_then(|value| whole(value.as_bytes())));
    }
    // If the owner may not read his own table, or his code fails, scan the table without him and without an index.
    let mut found: Option<i128> = None;
    row_scan::each(column.table, |row| {
        let value = row.get(column.number).and_then(Option::as_ref).and_then(|value| whole(value));
        found = match (found, value) {
            (Some(one), Some(other)) => Some(if upward { one.max(other) } else { one.min(other) }),
            (one, other) => one.or(other),
        };
        Ok(())
    })?;
    Ok(found)
}

/// The integral part of a number in text format.
fn whole(value: &[u8]) -> Option<i128> {
    let digits = value.split(|&byte| byte == b'.').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
