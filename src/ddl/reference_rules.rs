//! Requirements for reference tables.

use crate::catalog::{self, REFERENCES, ReferenceTable};
use crate::error::{Error, Result};
use crate::pg::catalog::names;
use crate::pg::catalog::privileges::RunAs;
use crate::pg::session::{self, sql};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// 42501 unless the user has the privileges of the table's owner.
pub fn own_table(table: &ReferenceTable) -> Result<()> {
    let select = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = $1";
    match sql::one::<bool>(select, &[table.relation.into()])? {
        Some(true) => Ok(()),
        _ => Err(Error::new(
            Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("must be owner of table {}", table.name),
        )),
    }
}

/// Errors for what cannot become a reference table: 42710 and 42809, with the reason.
pub fn check_kind(table: &ReferenceTable) -> Result<()> {
    if catalog::is_reference(table.relation)? {
        let message = format!("table {} is already a reference table", table.name);
        return Err(Error::new(Code::ERRCODE_DUPLICATE_OBJECT, message));
    }
    let namespace = names::relation_namespace(table.relation).unwrap_or(pgrx::pg_sys::InvalidOid);
    if catalog::any_placement(namespace)?.is_some() {
        let schema = session::namespace_name(namespace).unwrap_or_default();
        let message = format!("table {} is in a distributed schema", table.name);
        return Err(Error::new(Code::ERRCODE_WRONG_OBJECT_TYPE, message)
            .detail(format!("Schema \"{schema}\" is on a single node."))
            .hint("Create the reference table in a plain schema."));
    }
    let select = "SELECT CASE c.relkind WHEN 'r' THEN NULL WHEN 'p' THEN 'a partitioned table' WHEN 'v' THEN 'a view'
                          WHEN 'm' THEN 'a materialized view' WHEN 'f' THEN 'a foreign table' WHEN 'S' THEN 'a sequence'
                          WHEN 'i' THEN 'an index' ELSE 'no ordinary table' END AS kind,
                         CASE WHEN c.oid < 16384 OR c.relnamespace IN ('helios'::regnamespace, 'pg_catalog'::regnamespace)
                              THEN 'a table of the system' WHEN c.relpersistence = 't' THEN 'a temporary table'
                              WHEN c.relpersistence = 'u' THEN 'an unlogged table'
                              WHEN EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                                              AND d.objid = c.oid AND d.deptype = 'e') THEN 'part of an extension'
                              WHEN c.reloftype <> 0 THEN 'a typed table' END AS peculiarity
                    FROM pg_class c WHERE c.oid = $1";
    let kinds = sql::rows(select, &[table.relation.into()], |row| {
        Ok(row.option::<String>("kind")?.or(row.option("peculiarity")?))
    })?;
    if let Some(kind) = kinds.into_iter().flatten().next() {
        let message = format!("{} cannot be a reference table", table.name);
        return Err(Error::new(Code::ERRCODE_WRONG_OBJECT_TYPE, message)
            .detail(format!("It is {kind}."))
            .hint("Only ordinary permanent tables can be reference tables."));
    }
    Ok(())
}

/// Checks the requirements that a reference table must always meet: 0A000 if it does not.
pub fn check_shape(table: &ReferenceTable) -> Result<()> {
    let rules = [
        ("inherits", "has inheritance parents or children", "Use a table without inheritance."),
        (
            "row_security",
            "has row-level security",
            "Disable row-level security and drop the policies, or keep the table in a distributed schema.",
        ),
        ("rules", "has rules", "Use triggers instead."),
        (
            "refers_elsewhere",
            "has a foreign key to a table that does not exist on nodes",
            "Make the referenced table a reference table first, or drop the foreign key.",
        ),
        ("deferrable_key", "has a deferrable primary key", "Make the primary key NOT DEFERRABLE."),
    ];
    let select = format!(
        "SELECT EXISTS (SELECT FROM pg_inherits WHERE c.oid IN (inhrelid, inhparent)) AS inherits,
                c.relrowsecurity OR EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid) AS row_security,
                EXISTS (SELECT FROM pg_rewrite WHERE ev_class = c.oid) AS rules,
                EXISTS (SELECT FROM pg_constraint WHERE conrelid = c.oid AND contype = 'f' AND confrelid <> c.oid
                           AND confrelid NOT IN ({REFERENCES})) AS refers_elsewhere,
                EXISTS (SELECT FROM pg_constraint WHERE conrelid = c.oid AND contype = 'p' AND condeferrable) AS deferrable_key
           FROM pg_class c WHERE c.oid = $1"
    );
    let _as_owner = RunAs::role(catalog::catalogs_owner()?);
    let found = sql::rows(&select, &[table.relation.into()], |row| {
        for (column, message, hint) in rules {
            if row.value(column)? {
                return Ok(Some((message, hint)));
            }
        }
        Ok(None)
    })?;
    match found.into_iter().flatten().next() {
        None => Ok(()),
        Some((message, hint)) => Err(unsupported(format!("table {} {message}", table.name))
            .detail("This is not supported for reference tables.")
            .hint(hint)),
    }
}

/// 0A000 with this message.
pub fn unsupported(message: String) -> Error {
    Error::new(Code::ERRCODE_FEATURE_NOT_SUPPORTED, message)
}
