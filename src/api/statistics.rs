//! Statistics on schemas.

use crate::error::{Error, Result};
use crate::pg::error::OrRaise;
use crate::pg::session;
use crate::shared::schema_counters;
use crate::stats;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use pgrx::prelude::*;

type Counted = TableIterator<
    'static,
    (
        name!(schema, String),
        name!(calls, i64),
        name!(rows, i64),
        name!(bytes, i64),
        name!(time_ms, f64),
        name!(errors, i64),
        name!(load, f64),
        name!(size, Option<i64>),
    ),
>;

/// Counters of each distributed schema.
#[pg_extern(sql = false)]
fn helios_schema_counters() -> Counted {
    let loads = stats::loads().or_raise();
    let counters = stats::counters().or_raise().into_iter();
    TableIterator::new(counters.map(move |(name, c)| {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let load = loads.get(&name).copied().unwrap_or(0.0);
        let time = c.micros as f64 / 1000.0;
        let size = c.size.map(number);
        let (calls, rows, bytes) = (number(c.calls), number(c.rows), number(c.bytes));
        (name, calls, rows, bytes, time, number(c.errors), load, size)
    }))
}

type Counting = TableIterator<'static, (name!(seconds, f64), name!(uncounted, i64))>;

/// Seconds since counting started, and number of statements that could not be counted.
#[pg_extern(sql = false)]
fn helios_counting() -> Counting {
    let (age, uncounted) = schema_counters::age();
    TableIterator::once((age, i64::try_from(uncounted).unwrap_or(i64::MAX)))
}

/// Reads the sizes of all schemas from the nodes; returns their number.
#[pg_extern(sql = false)]
fn helios_measure_sizes() -> i64 {
    let measure = || -> Result<i64> {
        let stats::Measured { sizes, silent } = stats::measure(None)?;
        stats::warn(&silent);
        Ok(i64::try_from(sizes.len()).unwrap_or(i64::MAX))
    };
    measure().or_raise()
}

/// Resets the counters, for one schema or all.
#[pg_extern(sql = false)]
fn helios_reset_statistics(schema: Option<&str>) {
    let reset = || -> Result<()> {
        let only = match schema {
            Some(name) => Some(session::namespace(name).ok_or_else(|| {
                Error::new(
                    Code::ERRCODE_INVALID_SCHEMA_NAME,
                    format!("schema \"{name}\" does not exist"),
                )
                .hint("Use NULL or no argument for all schemas.")
            })?),
            None => None,
        };
        schema_counters::reset(only.map(|oid| oid.to_u32()));
        Ok(())
    };
    reset().or_raise();
}
