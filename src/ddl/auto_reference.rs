//! Tables on this server that become reference tables because a table of a distributed schema gets a foreign key to them.
//!
//! PostgreSQL has checked that the client may create the foreign key, which requires the REFERENCES privilege on the
//! table; nothing else is required. Helios makes the change itself, and code of the table's owner runs with the owner's
//! privileges only (see [`super::reference_copy`]).
//!
//! Lock order: the cluster's lock, the tables as PostgreSQL locks them for a foreign key (waits for writers, not for
//! readers) by OID, their locks as reference tables.

use super::reference_rules::{check_kind, unsupported};
use super::reference_table::{self, described};
use super::statement_scope::StatementScope;
use crate::catalog::{self, REFERENCES, ReferenceTable};
use crate::error::{Error, Result};
use crate::pg::catalog::object;
use crate::pg::catalog::privileges::RunAs;
use crate::pg::hooks::object_access::Event;
use crate::pg::session::sql;
use crate::settings::{AUTO_REFERENCE_TABLES, MAX_AUTO_REFERENCE_TABLE_SIZE};
use crate::transaction;
use pgrx::PgLogLevel;
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode as Code};

/// A foreign key from a table on a node to a table on this server.
struct ForeignKey {
    name: String,
    /// The table on the node.
    table: String,
    referenced: Oid,
}

/// Makes reference tables of all tables on this server that new foreign keys refer to, directly or through each other.
///
/// Errors: 0A000 if one of them cannot become one, or is too large.
pub(super) fn follow(scope: &StatementScope) -> Result<()> {
    let mut keys = Vec::new();
    for touched in &scope.touched {
        if touched.event == Event::Created && object::is_constraint(touched.object) {
            keys.extend(key_to_this_server(touched.object.id)?);
        }
    }
    if keys.is_empty() {
        return Ok(());
    }
    if !AUTO_REFERENCE_TABLES.get() {
        return keys.iter().try_for_each(|key| Err(disabled(key)?));
    }
    let _path = transaction::SafePath::begin();
    let referenced: Vec<Oid> = keys.iter().map(|key| key.referenced).collect();
    let tables = locked(&referenced)?;
    let explained = |error: Error| match keys.first() {
        Some(key) => error.context(format!("foreign key \"{}\" of table {}", key.name, key.table)),
        None => error,
    };
    check(&tables).and_then(|()| reference_table::make(&tables)).map_err(explained)?;
    tables.iter().for_each(report);
    Ok(())
}

/// The key, if it refers from a node to a table that is not there.
fn key_to_this_server(constraint: Oid) -> Result<Option<ForeignKey>> {
    let _as_owner = RunAs::role(catalog::catalogs_owner()?);
    let select = "SELECT k.conname::text AS name, format('%I.%I', n.nspname, c.relname) AS \"table\",
                         n.oid AS namespace, k.confrelid AS referenced, r.relnamespace AS referenced_namespace
                    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
                         JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_class r ON r.oid = k.confrelid
                   WHERE k.oid = $1 AND k.contype = 'f'";
    let found = sql::rows(select, &[constraint.into()], |row| {
        let key = ForeignKey {
            name: row.value("name")?,
            table: row.value("table")?,
            referenced: row.value("referenced")?,
        };
        Ok((key, row.value::<Oid>("namespace")?, row.value::<Oid>("referenced_namespace")?))
    })?;
    let Some((key, from, to)) = found.into_iter().next() else { return Ok(None) };
    let stays = catalog::placement(from)?.is_none()
        || catalog::placement(to)?.is_some()
        || catalog::is_reference(key.referenced)?;
    Ok((!stays).then_some(key))
}

fn disabled(key: &ForeignKey) -> Result<Error> {
    let name = described(key.referenced)?.name;
    let message = format!("cannot create foreign key \"{}\" to table {name}", key.name);
    Ok(unsupported(message)
        .detail(format!("Table {} is on a node, and {name} is only on this server.", key.table))
        .hint(format!(
            "Make it a reference table: SELECT helios_create_reference_table({}); or set helios.auto_reference_tables.",
            helios_core::quote::literal(&name)
        )))
}

/// The tables that have to become reference tables, locked.
fn locked(referenced: &[Oid]) -> Result<Vec<ReferenceTable>> {
    let mut tables = closure(referenced)?;
    loop {
        for table in &tables {
            reference_table::lock(table, "SHARE ROW EXCLUSIVE")?;
        }
        // A foreign key that somebody else created meanwhile may have added tables. None can be created now.
        let now = closure(referenced)?;
        if now.len() == tables.len() {
            return Ok(now);
        }
        tables = now;
    }
}

/// These tables and those to which their foreign keys refer, without reference tables, by OID.
fn closure(referenced: &[Oid]) -> Result<Vec<ReferenceTable>> {
    let select = format!(
        "WITH RECURSIVE closure (relation) AS (
             SELECT unnest($1::oid[])
              UNION SELECT k.confrelid FROM closure JOIN pg_constraint k ON k.conrelid = relation AND k.contype = 'f')
         SELECT relation, format('%I.%I', n.nspname, c.relname) AS name
           FROM closure JOIN pg_class c ON c.oid = relation JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE relation NOT IN ({REFERENCES}) ORDER BY relation"
    );
    let _as_owner = RunAs::role(catalog::catalogs_owner()?);
    sql::rows(&select, &[referenced.to_vec().into()], |row| {
        Ok(ReferenceTable { relation: row.value("relation")?, name: row.value("name")? })
    })
}

fn check(tables: &[ReferenceTable]) -> Result<()> {
    let limit = i64::from(MAX_AUTO_REFERENCE_TABLE_SIZE.get());
    for table in tables {
        check_kind(table)?;
        let size = sql::one::<i64>("SELECT pg_table_size($1)", &[table.relation.into()])?;
        let size = size.unwrap_or_default();
        if limit >= 0 && size > limit * 1024 {
            return Err(too_large(table, size, limit * 1024)?);
        }
    }
    Ok(())
}

fn too_large(table: &ReferenceTable, size: i64, limit: i64) -> Result<Error> {
    let pretty = |size: i64| -> Result<String> {
        Ok(sql::one("SELECT pg_size_pretty($1)", &[size.into()])?.unwrap_or_default())
    };
    let (name, size, limit) = (&table.name, pretty(size)?, pretty(limit)?);
    Ok(unsupported(format!("table {name} is too large to become a reference table by itself"))
        .detail(format!(
            "The table has {size}, and helios.max_auto_reference_table_size is {limit}."
        ))
        .hint(format!(
            "Make it a reference table: SELECT helios_create_reference_table({}); or raise the limit.",
            helios_core::quote::literal(name)
        )))
}

fn report(table: &ReferenceTable) {
    let message = format!("table {} is now a reference table", table.name);
    let notice = Error::new(Code::ERRCODE_SUCCESSFUL_COMPLETION, message)
        .detail("Every node has a copy of it, because a table on a node refers to it.");
    crate::pg::error::notify(PgLogLevel::NOTICE, &notice);
}
