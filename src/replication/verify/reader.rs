//! How a comparison reads tables on a server.
//!
//! A query that names a table is planned, and planning evaluates constant expressions of its indexes and statistics. So
//! it would have to run as the table's owner, who may lack permission to read it or to use its schema. On servers with
//! Helios, the rows come from a function instead, and no query names the table.
//!
//! A server outside of the cluster has no such function; there the session is that of the connection string's role.

use super::mismatch::TableName;
use crate::error::Result;
use crate::remote::Session;
use crate::replication::endpoints::{flag, literal};

/// How to read tables on one server.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    has_helios: bool,
}

impl Reader {
    /// Checks whether the server has Helios' own functions, which nobody else can have created in their place, and
    /// whether the session may use them.
    pub fn of(session: &mut Session) -> Result<Self> {
        let ask = "SELECT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
                    WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype = 'e'
                      AND d.objid = pg_catalog.to_regprocedure('helios.table_rows(pg_catalog.anyelement)')
                      AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND e.extname = 'helios')
                  AND (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)";
        let has_helios = session.query(ask)?.first().is_some_and(|row| flag(row, 0));
        Ok(Self { has_helios })
    }

    /// A FROM item that yields a table's rows with its column names.
    pub fn rows(self, table: &TableName) -> String {
        let name = table.qualified();
        match self.has_helios {
            // OFFSET keeps the planner from flattening the subquery, so that each row is computed once.
            true => format!(
                "(SELECT (helios.r).* FROM (SELECT helios.table_rows(NULL::{name}) AS r OFFSET 0) AS helios) AS helios"
            ),
            false => format!("ONLY {name}"),
        }
    }

    /// A query for the position of a sequence.
    pub fn position(self, sequence: &TableName) -> String {
        let name = sequence.qualified();
        match self.has_helios {
            true => {
                format!(
                    "SELECT last_value, is_called FROM helios.sequence_position({})",
                    literal(&name)
                )
            }
            false => format!("SELECT last_value, is_called FROM {name}"),
        }
    }
}
