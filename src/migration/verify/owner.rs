//! Sessions of a comparison that run as the owner of the table that they read.
//!
//! A server outside of the cluster has no function for that: there the session is what the connection string made it.

use super::super::ends::{flag, literal};
use super::{TableName, both};
use crate::error::Result;
use crate::remote::Session;

/// Whether a server has Helios' own function, which nobody else can have put there in its place.
pub fn is_known(session: &mut Session) -> Result<bool> {
    let ask = "SELECT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
                WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype = 'e'
                  AND d.objid = pg_catalog.to_regprocedure('helios.run_as_owner(pg_catalog.text)')
                  AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND e.extname = 'helios')";
    Ok(session.query(ask)?.first().is_some_and(|row| flag(row, 0)))
}

/// Both sessions become the owner of their copy, in a subtransaction. A table that is not there has none.
pub fn become_owner(
    source: &mut Session,
    target: &mut Session,
    known: [bool; 2],
    table: &TableName,
) -> Result<()> {
    let name = literal(&table.qualified());
    let text = |known: bool| match known {
        true => format!(
            "SAVEPOINT helios_owner; SELECT CASE WHEN pg_catalog.to_regclass({name}) IS NOT NULL THEN helios.run_as_owner({name}) END"
        ),
        false => "SAVEPOINT helios_owner".to_owned(),
    };
    both(source, target, &text(known[0]), &text(known[1])).map(|_| ())
}

/// Both sessions are what they were before, and so are their settings, whatever ran in between.
pub fn step_back(source: &mut Session, target: &mut Session) -> Result<()> {
    let text = "ROLLBACK TO SAVEPOINT helios_owner; RELEASE SAVEPOINT helios_owner";
    both(source, target, text, text).map(|_| ())
}
