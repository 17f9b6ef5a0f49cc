//! Compares the copies before the switch.

use super::ends::{Ends, text};
use super::record::{self, Migration};
use super::switch::{self, Tried};
use crate::error::{Error, Result};
use crate::pg::worker;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Compares once; XX001 if the copies differ.
pub fn compare(migration: &Migration, ends: &mut Ends) -> Result<Tried> {
    if let Tried::Busy(reason) = switch::same_point(migration, ends)? {
        return Ok(Tried::Busy(reason));
    }
    let tables = worker::attempt(|| record::tables(migration.id))?;
    for table in tables.iter().filter(|table| table.logged) {
        let ask = format!(
            "SELECT format('%s rows, sum %s', count(*), coalesce(sum(hashtextextended(r::text, 0)::numeric), 0)) FROM ONLY {} AS r",
            table.qualified()
        );
        ends.source.start_query(&ask)?;
        ends.target.start_query(&ask)?;
        let (there, here) = (ends.source.finish_query()?, ends.target.finish_query()?);
        let show =
            |rows: &[Vec<Option<String>>]| rows.first().map(|row| text(row, 0)).unwrap_or_default();
        if there != here {
            return Err(Error::new(
                Code::ERRCODE_DATA_CORRUPTED,
                format!("the copies of table {} differ", table.qualified()),
            )
            .detail(format!("Source: {}; target: {}.", show(&there), show(&here)))
            .hint("The old copy stays in use. Look for triggers or rules that change rows on the way, and begin the move again."));
        }
    }
    ends.source.query("COMMIT")?;
    ends.target.query("COMMIT")?;
    Ok(Tried::Done)
}
