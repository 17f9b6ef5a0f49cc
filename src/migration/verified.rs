//! Compares the copies before the switch.

use super::ends::Ends;
use super::record::{self, Migration};
use super::switch::{self, Tried};
use super::verify::{self, Compared, TableName};
use crate::error::{Error, Result};
use crate::pg::worker;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Compares once; XX001 if the copies differ.
pub fn compare(migration: &Migration, ends: &mut Ends) -> Result<Tried> {
    if let Tried::Busy(reason) = switch::same_point(migration, ends)? {
        return Ok(Tried::Busy(reason));
    }
    let tables = worker::attempt(|| record::tables(migration.id))?;
    let logged = tables.into_iter().filter(|table| table.logged);
    let names: Vec<TableName> =
        logged.map(|table| TableName { schema: table.schema, name: table.name }).collect();
    let compared = verify::compare(&mut ends.source, &mut ends.target, &names)?;
    worker::attempt(|| verify::record(migration.id, &compared))?;
    let differing: Vec<&Compared> = compared.iter().filter(|one| one.count > 0).collect();
    if !differing.is_empty() {
        let lines: Vec<String> = differing.iter().take(5).map(|one| one.to_string()).collect();
        return Err(Error::new(
            Code::ERRCODE_DATA_CORRUPTED,
            format!("the copies of {} tables differ", differing.len()),
        )
        .detail(lines.join("; "))
        .hint("The old copy stays in use; helios_mismatches shows the rows. Look for triggers or rules that change rows on the way, and begin the move again."));
    }
    ends.source.query("COMMIT")?;
    ends.target.query("COMMIT")?;
    Ok(Tried::Done)
}
