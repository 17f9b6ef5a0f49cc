//! Measures schema sizes with one query per node, on all nodes in parallel.

use crate::catalog::{self, Node, NodeId};
use crate::error::{Error, Result};
use crate::pg::catalog::privileges;
use crate::pg::error::notify;
use crate::pg::session::{self, sql};
use crate::remote::Record;
use crate::remote::Session;
use crate::shared::schema_counters;
use crate::transaction;
use pgrx::PgLogLevel;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Time limit for a node's response.
const TIME_LIMIT: Duration = Duration::from_secs(10);

const SIZES: &str = "SELECT n.nspname::text AS schema, coalesce(sum(pg_catalog.pg_total_relation_size(c.oid)), 0)::bigint AS bytes
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'm', 'S') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('helios', 'information_schema')
      GROUP BY 1";

/// Result of a measurement.
#[derive(Default)]
pub struct Measured {
    /// Bytes of each schema, by name.
    pub sizes: HashMap<String, f64>,
    /// Nodes that did not respond, with the reason.
    pub silent: Vec<(NodeId, Error)>,
}

/// Sizes of all schemas on these nodes (None: all) in bytes, by name, including indexes and TOAST. A missing response
/// is an error, because a plan made without it would be a different one.
pub fn sizes(of: Option<&[NodeId]>) -> Result<HashMap<String, f64>> {
    let Measured { sizes, silent } = measure(of)?;
    silent.into_iter().next().map_or(Ok(sizes), |(_, error)| Err(error))
}

/// Like [`sizes`], but returns the errors of nodes that did not respond. Stores the sizes for the views.
pub fn measure(of: Option<&[NodeId]>) -> Result<Measured> {
    let nodes = catalog::nodes()?;
    let wanted = |node: &&Rc<Node>| of.is_none_or(|of| of.contains(&node.id)) && !node.is_foreign;
    let nodes_of_schemas = catalog::nodes_of_schemas()?;
    let mut errors = Vec::new();
    let mut asked = Vec::new();
    for node in nodes
        .iter()
        .filter(wanted)
        .filter(|node| nodes_of_schemas.values().any(|other| *other == node.id))
    {
        match ask(node) {
            Ok(session) => asked.push((node, session)),
            Err(error) => errors.push((node.id, error)),
        }
    }
    let mut sizes = HashMap::new();
    for (node, session) in asked {
        match answer(session) {
            Ok(rows) => {
                // A schema of the same name on another node is a copy maintained by a migration.
                let here = rows
                    .into_iter()
                    .filter(|(name, _)| nodes_of_schemas.get(name) == Some(&node.id));
                sizes.extend(here.map(|(name, bytes)| (name, bytes as f64)));
            }
            Err(error) => {
                let line = format!("while reading schema sizes from node \"{}\"", node.name);
                errors.push((node.id, error.context(line)));
            }
        }
    }
    for (name, bytes) in &sizes {
        if let Some(schema) = session::namespace(name) {
            schema_counters::set_size(schema.to_u32(), *bytes as u64);
        }
    }
    Ok(Measured { sizes, silent: errors })
}

/// Sends the query; None for this server.
fn ask(node: &Node) -> Result<Option<Session>> {
    if node.is_local {
        return Ok(None);
    }
    transaction::refuse_silent(node)?;
    let role = privileges::session_user();
    let mut session = Session::connect(&Rc::new(transaction::target(node, &role)?), &role)?;
    session.set_time_limit(Some(Instant::now() + TIME_LIMIT));
    let limit = TIME_LIMIT.as_millis();
    session.start_query(&format!("SET statement_timeout = {limit}; {SIZES}"))?;
    Ok(Some(session))
}

fn answer(session: Option<Session>) -> Result<Vec<(String, u64)>> {
    let Some(mut session) = session else {
        return sql::read_rows(SIZES, &[], |row| {
            Ok((row.value("schema")?, row.value::<i64>("bytes")?.max(0) as u64))
        });
    };
    let size = |row: &Record| Ok((row.text("schema")?, row.parsed("bytes")?.unwrap_or(0)));
    session.finish_query()?.iter().map(size).collect()
}

/// Raises a warning for each node that did not respond.
pub fn warn(errors: &[(NodeId, Error)]) {
    errors.iter().for_each(|(_, error)| notify(PgLogLevel::WARNING, error));
}
