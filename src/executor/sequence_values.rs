//! `pg_sequence_last_value()` of sequences on nodes.
//!
//! A scan of `pg_sequences` calls it for each sequence: the second call of a query for a node fetches the values of all
//! sequences there. They are used until the query ends, or until this session sends another request to a node, which may
//! change them.

use crate::catalog::{self, NodeId};
use crate::error::Result;
use crate::pg::catalog::names::relation_local_name;
use crate::pg::catalog::privileges;
use crate::pg::exec::custom_scan::Attempt;
use crate::pg::exec::nesting;
use crate::pg::session::namespace_name;
use crate::transaction::{self, Mode};
use helios_core::quote;
use pgrx::pg_sys::Oid;
use std::cell::RefCell;
use std::collections::HashMap;

/// Values by schema and name; NULL for a sequence that was not used yet.
type Values = HashMap<(String, String), Option<i64>>;

/// For what values were fetched: the query, the number of requests sent to nodes until then, the user.
type Moment = (u64, u64, Oid);

#[derive(Default)]
struct Fetched {
    moment: Option<Moment>,
    /// No values for a node that was asked for one sequence.
    nodes: HashMap<NodeId, Option<Values>>,
}

thread_local!(static FETCHED: RefCell<Fetched> = RefCell::default());

fn moment() -> Moment {
    (nesting::executions(), transaction::requests_sent(), privileges::current_user())
}

/// Gets the last value of a sequence in a distributed schema from its node, which may be NULL; `None` if the schema has
/// just been undistributed.
pub(super) fn last_value(namespace: Oid, sequence: Oid) -> Result<Option<Option<i64>>> {
    let Attempt::Done(node) = super::locate_or_replan(std::iter::once(namespace))? else {
        return Ok(None);
    };
    let name = (
        namespace_name(namespace).unwrap_or_default(),
        relation_local_name(sequence).unwrap_or_default(),
    );
    let known = FETCHED.with_borrow_mut(|fetched| {
        if fetched.moment != Some(moment()) {
            *fetched = Fetched::default();
        }
        fetched
            .nodes
            .get(&node)
            .map(|values| values.as_ref().map(|values| values.get(&name).copied()))
    });
    let all = match known {
        Some(Some(Some(value))) => return Ok(Some(value)),
        // It is not among the values: it was made since, or its value may not be read, which is an error of the node.
        Some(Some(None)) | None => None,
        Some(None) => Some(values_on(node)?),
    };
    let value = match &all {
        Some(values) if values.contains_key(&name) => values.get(&name).copied().flatten(),
        _ => one(node, &quote::qualified(&name.0, &name.1))?,
    };
    FETCHED.with_borrow_mut(|fetched| {
        fetched.moment = Some(moment());
        let known = fetched.nodes.entry(node).or_default();
        if all.is_some() {
            *known = all;
        }
    });
    Ok(Some(value))
}

fn one(node: NodeId, name: &str) -> Result<Option<i64>> {
    // It may have been dropped there after it was found here.
    let name = quote::literal(name);
    let sql = format!("SELECT pg_catalog.pg_sequence_last_value(pg_catalog.to_regclass({name}))");
    let rows = transaction::query(node, sql.as_bytes(), super::mode())?;
    Ok(rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok()))
}

/// The values of all sequences in the distributed schemas of a node that the user may read.
fn values_on(node: NodeId) -> Result<Values> {
    let schemas = catalog::schemas_on(node)?;
    let names: Vec<String> = schemas.iter().map(|name| quote::literal(name)).collect();
    let sql = format!(
        "SELECT n.nspname, c.relname, pg_catalog.pg_sequence_last_value(c.oid)
           FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) n.oid
          WHERE n.nspname OPERATOR(pg_catalog.=) ANY (ARRAY[{}]::pg_catalog.name[])
            AND CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'S'
                     THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT, USAGE') END",
        names.join(", ")
    );
    let rows = transaction::query(node, sql.as_bytes(), Mode::Transaction)?;
    let value = |row: Vec<Option<String>>| {
        let mut columns = row.into_iter();
        let name = (columns.next()??, columns.next()??);
        Some((name, columns.next()?.and_then(|value| value.parse().ok())))
    };
    Ok(rows.into_iter().filter_map(value).collect())
}
