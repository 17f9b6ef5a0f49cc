//! Compares the copies: before the switch, and whenever somebody asks while both are there.

use super::outcome::{Next, advance, ends, persist};
use super::switch::open_way_back;
use crate::catalog::migration::{self, Migration};
use crate::catalog::migration_table::{self, MovingTable};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::migration::kind::Kind;
use crate::migration::switch::{self, Tried, Way};
use crate::pg::ipc::worker;
use crate::replication::endpoints::Ends;
use crate::replication::verify as comparison;
use crate::replication::verify::{Compared, TableName};
use helios_core::migration::Wish;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// No switch without it.
///
/// XX001 if the copies differ.
pub fn verify(migration: &Migration) -> Result<Next> {
    let mut ends = ends(migration)?;
    failpoint::hit(failpoint::MIGRATION_VERIFY_BEFORE)?;
    let compared = persist(migration, || compare(migration, &mut ends, Way::There))?;
    match compared.as_deref() {
        None => Ok(Next::Go),
        Some([]) => advance(migration, Kind::of(migration).after_verify()),
        Some([first, others @ ..]) => Err(differ(migration, first, others.len())),
    }
}

/// Because someone asked; a difference is what was asked for, not a failure.
pub fn again(migration: &Migration) -> Result<Next> {
    let way = match migration.state.is_before_switch() {
        true => Way::There,
        false => open_way_back(migration).map(|_| Way::Back)?,
    };
    let mut ends = ends(migration)?;
    if persist(migration, || compare(migration, &mut ends, way))?.is_some() {
        worker::attempt(|| migration::fulfil(migration.id, Wish::Verify))?;
    }
    Ok(Next::Go)
}

/// Compares once, notes what was found, and gives the tables that differ.
fn compare(migration: &Migration, ends: &mut Ends, way: Way) -> Result<Tried<Vec<Compared>>> {
    if let Tried::Busy(reason) = switch::same_point(migration, ends, way)? {
        return Ok(Tried::Busy(reason));
    }
    let tables = worker::attempt(|| migration_table::of_migration(migration.id))?;
    let name =
        |table: &MovingTable| TableName { schema: table.schema.clone(), name: table.name.clone() };
    // What logical replication does not carry is copied by the switch itself.
    let tables: Vec<TableName> = tables.iter().filter(|table| table.logged).map(name).collect();
    let mut compared = comparison::compare(&mut ends.source, &mut ends.target, &tables)?;
    ends.source.query("COMMIT")?;
    ends.target.query("COMMIT")?;
    worker::attempt(|| comparison::record(migration.id, &compared))?;
    compared.retain(|one| one.count > 0);
    Ok(Tried::Done(compared))
}

fn differ(migration: &Migration, first: &Compared, others: usize) -> Error {
    let more = match others {
        0 => String::new(),
        more => format!("; and {more} more tables"),
    };
    Error::new(Code::ERRCODE_DATA_CORRUPTED, "the two copies differ")
        .detail(format!("{first}{more}."))
        .hint(format!(
            "The view helios_mismatches names the rows: SELECT * FROM helios_mismatches WHERE migration = {}.",
            migration.id
        ))
}
