//! Plain schemas on nodes. A node has the schema itself and its types, functions and so on, but no relations. The
//! schema is dropped on all nodes when it becomes distributed, and created again when it becomes a plain one again.
//!
//! Invariant: nothing is dropped on a node that does not exist on the coordinator, too.

use super::code::Code as TenantCode;
use super::dump::{self, Section};
use super::referrers;
use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::pg::session::subtransaction;
use crate::remote::{Record, cells, own_rows};
use crate::replication::endpoint::{self, Endpoint};
use crate::replication::endpoints::{identifier, literal};
use crate::transaction::{self, Mode};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::collections::HashSet;

/// Objects in the schema, except for those that are parts of other objects.
fn contents(schema: &str) -> String {
    format!(
        "SELECT i.type || ' ' || i.identity AS object, (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND i.type <> 'composite type')::text AS is_relation
           FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_namespace n ON n.oid = d.refobjid
                CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, 0) AS i
          WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.deptype = 'n' AND n.nspname = {}
            AND d.classid <> 'pg_catalog.pg_default_acl'::pg_catalog.regclass
          ORDER BY 1",
        literal(schema)
    )
}

/// Drops the schema on all nodes.
///
/// 55000 if a node has objects in it, or depending on it, that the coordinator does not have.
pub fn drop_on_nodes(schema: &str) -> Result<()> {
    let object = |row: &Record| row.text("object");
    let here: HashSet<String> =
        own_rows(&contents(schema))?.iter().map(object).collect::<Result<_>>()?;
    for node in catalog::remote_nodes()? {
        let there = |query: &str| transaction::query(node.id, query.as_bytes(), Mode::Transaction);
        let in_it = there(&contents(schema))?;
        let (is_empty, mut own) = (in_it.is_empty(), Vec::new());
        for row in in_it {
            let [object, is_relation] = cells(row)?;
            if is_relation == "true" || !here.contains(&object) {
                own.push(object);
            }
        }
        refuse(&node.name, "in", schema, own)?;
        if !is_empty {
            let depends = there(&referrers::outside_of(schema))?;
            let depends = depends.into_iter().flatten().flatten().collect();
            refuse(&node.name, "that depend on", schema, depends)?;
        }
        Endpoint::of(node.id)
            .execute(&format!("DROP SCHEMA IF EXISTS {} CASCADE", identifier(schema)))?;
    }
    Ok(())
}

fn refuse(node: &str, how: &str, schema: &str, mut own: Vec<String>) -> Result<()> {
    const SHOWN: usize = 10;
    if own.is_empty() {
        return Ok(());
    }
    let more = own.len().saturating_sub(SHOWN);
    own.truncate(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(Error::new(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("node \"{node}\" has objects unknown to the coordinator {how} schema \"{schema}\""),
    )
    .detail(format!("These objects would be lost: {}{more}.", own.join(", ")))
    .hint(
        "They were created on the node directly. Drop them on the node, or move them to another schema.",
    ))
}

/// Kinds of entries that exist on the coordinator only.
const RELATIONS: [&str; 5] = ["TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "FOREIGN TABLE"];

/// Creates the schema, which has become a plain one again, on all nodes.
pub fn restore_on_nodes(schema: &str, owner: &str) -> Result<()> {
    let schemas = [schema.to_owned()];
    let dumped = dump::definitions(NodeId::LOCAL, &schemas, Section::PreData, None)?;
    let (rest, _) = dumped.divide(|entry| RELATIONS.contains(&entry.kind.as_str()));
    let code = TenantCode::here(&schemas)?;
    let own = endpoint::role()?;
    for node in catalog::remote_nodes()? {
        let (name, owner) = (identifier(schema), identifier(owner));
        Endpoint::of(node.id)
            .execute(&format!("CREATE SCHEMA IF NOT EXISTS {name} AUTHORIZATION {owner}"))?;
        if rest.entries.iter().all(|entry| entry.kind == "SCHEMA") {
            continue;
        }
        Endpoint::of(node.id).execute("SET LOCAL check_function_bodies = off")?;
        Endpoint::of(node.id).execute("SET LOCAL helios.migration_session = on")?;
        for entry in rest.entries.iter().filter(|entry| entry.kind != "SCHEMA") {
            // Executes an entry with any number of statements as a single one.
            let runs_code = rest.runs_code(entry, &own, &code);
            let made = literal(&rest.alone(entry, runs_code, &code));
            let text = match runs_code {
                false => format!("BEGIN EXECUTE {made}; END"),
                // A block with an exception handler is a subtransaction, at whose end the role is restored.
                true => format!(
                    "BEGIN PERFORM helios.run_as({}); EXECUTE {made}; EXCEPTION WHEN no_data_found THEN RAISE; END",
                    literal(&entry.owner)
                ),
            };
            let made = subtransaction::attempt(|| {
                Endpoint::of(node.id).execute(&format!("DO {}", literal(&text)))
            });
            match made {
                // Objects that depend on a relation of another schema exist on the coordinator only.
                Err(error) if !is_elsewhere(&error) => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Whether an error says that an object does not exist on the node.
fn is_elsewhere(error: &Error) -> bool {
    [
        Code::ERRCODE_UNDEFINED_TABLE,
        Code::ERRCODE_UNDEFINED_OBJECT,
        Code::ERRCODE_UNDEFINED_FUNCTION,
        Code::ERRCODE_INVALID_SCHEMA_NAME,
    ]
    .into_iter()
    .any(|code| error.is(code))
}
