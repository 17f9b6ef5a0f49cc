//! The copy of a reference table on a node, with its rows.
//!
//! Invariant: code written by the table's owner (generated columns, checks, indexes, the literals in them) runs with the
//! owner's privileges only. So the table is created and filled by the owner, in a temporary schema where he may do that,
//! with its constraints and indexes; then a superuser moves it to its place.

use crate::catalog::{self, NodeId, ReferenceTable};
use crate::error::{Error, Result};
use crate::executor::{coordinator_request, random};
use crate::pg::catalog::privileges::{self, RunAs};
use crate::pg::exec::row_scan;
use crate::pg::session::sql;
use crate::transaction::{self, Mode};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Name of the trigger; it sorts before usual names.
const COPY: &str = "\"!helios_copy\"";

/// Number and hash of the rows of the local copy, as committed on all nodes: writers are blocked until the transaction
/// ends.
pub fn digest(table: &ReferenceTable) -> Result<String> {
    catalog::lock_reference_shared(table.relation);
    digest_of(table.relation)
}

/// The query that returns [`digest`] on a node.
pub fn digest_there(table: &ReferenceTable) -> String {
    let name = helios_core::quote::literal(&table.name);
    format!("SELECT helios.reference_digest({name}::pg_catalog.regclass)")
}

/// Number of rows of a table and a sum of their hashes.
pub fn digest_of(relation: pgrx::pg_sys::Oid) -> Result<String> {
    let (mut rows, mut sum) = (0_u64, 0_i128);
    // A copy has no column that was dropped before the copy was made.
    let columns = "SELECT a.attnum OPERATOR(pg_catalog.-) 1 AS at FROM pg_catalog.pg_attribute a
                    WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attnum OPERATOR(pg_catalog.>) 0
                      AND NOT a.attisdropped ORDER BY a.attnum";
    let columns = sql::read_rows(columns, &[relation.into()], |row| row.value::<i32>("at"))?;
    row_scan::each(relation, |row| {
        rows += 1;
        let values = columns.iter().map(|&at| row.get(at as usize).and_then(Option::as_deref));
        sum += i128::from(row_scan::hash(values));
        Ok(())
    })?;
    Ok(format!("{rows} rows, sum {sum}"))
}

/// 42501 unless the current user may read the table, because a digest reveals information about it. 42809 for relations
/// without storage: views, partitioned tables.
pub fn require_reader(relation: pgrx::pg_sys::Oid) -> Result<()> {
    let kind = "SELECT relkind OPERATOR(pg_catalog.=) 'r' FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) $1";
    if crate::pg::session::sql::read_one::<bool>(kind, &[relation.into()])? == Some(false) {
        let name = crate::pg::session::quoted_relation_name(relation);
        let message = format!("{name} is not an ordinary table");
        return Err(Error::new(Code::ERRCODE_WRONG_OBJECT_TYPE, message));
    }
    if privileges::may_read(relation) {
        return Ok(());
    }
    let name = crate::pg::session::quoted_relation_name(relation);
    let message = format!("permission denied for table {name}");
    Err(Error::new(Code::ERRCODE_INSUFFICIENT_PRIVILEGE, message))
}

/// One of the statements that create the copy.
struct Statement {
    by_owner: bool,
    text: String,
}

/// Creates the copy on a node, with its rows. The table or the cluster is locked against writers.
///
/// The client may be allowed less than that, because a foreign key to the table is sufficient to make it a reference
/// table: the node does the work as other roles, at this server's request.
pub fn copy(node: NodeId, table: &ReferenceTable) -> Result<()> {
    let owner = privileges::role_name(privileges::owner_of_relation(table.relation)?);
    let role = pgrx::spi::quote_identifier(&owner);
    // Nobody can have created a schema of this name to be in the way.
    let place = format!("helios_reference_{:016x}", random::number()?);
    let (by_owner, by_us): (Vec<_>, Vec<_>) =
        definition(table, &place)?.into_iter().partition(|statement| statement.by_owner);
    let _session = RunAs::session();
    let create = format!("CREATE SCHEMA {place} AUTHORIZATION {role}");
    as_role(node, None, || run(node, &create))?;
    as_role(node, Some(&owner), || {
        let mut by_owner = by_owner.iter();
        by_owner.next().map_or(Ok(()), |create_table| run(node, &create_table.text))?;
        let name =
            crate::pg::catalog::names::relation_local_name(table.relation).unwrap_or_default();
        let made = pgrx::spi::quote_qualified_identifier(&place, &name);
        copy_rows(node, table.relation, &made)?;
        by_owner.try_for_each(|statement| run(node, &statement.text))
    })?;
    // The owner's code may have changed the session's settings, in particular search_path.
    transaction::forget_settings_of(node);
    as_role(node, None, || {
        by_us.iter().try_for_each(|statement| run(node, &statement.text))?;
        let (name, when) = (&table.name, "BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE");
        run(
            node,
            &format!(
                "CREATE TRIGGER {COPY} {when} ON {name}
                     FOR EACH STATEMENT EXECUTE FUNCTION helios.reference_copy()"
            ),
        )?;
        run(node, &format!("ALTER TABLE {name} ENABLE ALWAYS TRIGGER {COPY}"))
    })
}

fn run(node: NodeId, text: &str) -> Result<()> {
    transaction::execute(node, text.as_bytes(), Mode::Transaction, true).map(|_| ())
}

/// Runs statements in the client's session with a node as `role`, or as the owner of the extension there.
fn as_role(node: NodeId, role: Option<&str>, work: impl FnOnce() -> Result<()>) -> Result<()> {
    run(node, "SAVEPOINT helios_role")?;
    coordinator_request::run_as(node, role)?;
    work()?;
    run(node, "RELEASE SAVEPOINT helios_role")
}

fn definition(table: &ReferenceTable, place: &str) -> Result<Vec<Statement>> {
    let _as_owner = RunAs::role(catalog::catalogs_owner()?);
    let select = "SELECT by_owner, statement FROM helios.reference_definition($1, $2)";
    sql::rows(select, &[table.relation.into(), place.into()], |row| {
        Ok(Statement { by_owner: row.value("by_owner")?, text: row.value("statement")? })
    })
}

/// Sends the rows of a table to the table of this name on a node.
pub(super) fn copy_rows(node: NodeId, table: pgrx::pg_sys::Oid, name: &str) -> Result<()> {
    let columns = "SELECT attnum::int AS number, quote_ident(attname) AS name FROM pg_attribute
                    WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum";
    let columns = sql::rows(columns, &[table.into()], |row| {
        let at = usize::try_from(row.value::<i32>("number")? - 1).unwrap_or_default();
        Ok((at, row.value::<String>("name")?))
    })?;
    let names: Vec<_> = columns.iter().map(|(_, name)| name.as_str()).collect();
    let text = format!("COPY {name} ({}) FROM STDIN", names.join(", "));
    let mut copy = transaction::copy(node, text.as_bytes(), Mode::Transaction, None)?;
    let sent = row_scan::each(table, |row| {
        let value = |(at, _): &(usize, String)| {
            let value = row.get(*at).and_then(Option::as_ref);
            value.map(|value| String::from_utf8_lossy(value).into_owned())
        };
        let values: Vec<Option<String>> = columns.iter().map(value).collect();
        copy.send(helios_core::copy_text::line(&values).as_bytes())
    });
    match sent {
        Ok(()) => copy.finish().map(|_| ()),
        Err(error) => {
            copy.fail("could not read the rows");
            Err(error)
        }
    }
}
