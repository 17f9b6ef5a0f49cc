//! Checks whether the definitions of shells match those on the nodes: the same query computes a digest of each schema
//! on both sides; where digests differ, a comparison of the lines finds the objects that do.
//!
//! [`crate::cluster::repair::lines`] describes the lines, which the repair uses, too.

use crate::catalog::{self, Node};
use crate::cluster::finding::Finding;
use crate::cluster::repair::lines;
use crate::error::Result;
use crate::pg::session::own_settings::OwnSettings;
use crate::remote::{Record, Session, read_own_rows};
use std::collections::{BTreeMap, BTreeSet};

/// Objects named in a finding.
const SHOWN: usize = 20;

const DIGESTS: &str = r#"SELECT schema::text AS name, md5(string_agg(md5(concat_ws(' ', object, line, role)), '' ORDER BY object COLLATE "C", md5(line))) AS content
                           FROM lines GROUP BY schema"#;
/// A privilege granted on one side only is a difference of the object's privileges.
const ALL: &str = "SELECT schema::text || '.' || object AS name, string_agg(concat_ws(' ', line, role), '; ' ORDER BY line) AS content FROM lines
                    WHERE aspect = 'privileges' GROUP BY schema, object
                   UNION ALL SELECT schema::text || '.' || object, line FROM lines WHERE aspect <> 'privileges'";

/// Names and contents on the node.
fn there(session: &mut Session, query: &str) -> Result<Vec<(String, String)>> {
    // JIT compilation of the query takes ten times as long as running it.
    let rows = session.query(&format!("SET search_path = pg_catalog; SET jit = off; {query}"))?;
    rows.iter().map(named).collect()
}

fn named(row: &Record) -> Result<(String, String)> {
    Ok((row.text("name")?, row.text("content")?))
}

/// Names and contents of this server.
fn here(query: &str) -> Result<Vec<(String, String)>> {
    let _own = OwnSettings::begin(&[(c"jit", c"off")]);
    read_own_rows(query)?.iter().map(named).collect()
}

/// Compares the schemas of a node with their shells. Schemas being moved are skipped.
pub fn compare(node: &Node, session: &mut Session) -> Result<Finding> {
    let mut schemas = catalog::schemas_on(node.id)?;
    let moving = catalog::moving_schemas()?;
    schemas.retain(|schema| !moving.contains(schema));
    let query = lines::query(&schemas, DIGESTS);
    let (shells, nodes) = (here(&query)?, there(session, &query)?);
    let nodes: BTreeMap<String, String> = nodes.into_iter().collect();
    let differ: Vec<String> = shells
        .into_iter()
        .filter(|(schema, digest)| nodes.get(schema).is_some_and(|there| there != digest))
        .map(|(schema, _)| schema)
        .collect();
    let detail = match differ.is_empty() {
        true => format!(
            "The definitions of all {} schemas match the coordinator's shells.",
            nodes.len()
        ),
        false => objects(&lines::query(&differ, ALL), session)?,
    };
    let remedy = match differ.first() {
        Some(schema) => format!(
            "Find out who changed them on the node. SELECT * FROM helios_repair_schema({}, dry_run => true) shows how \
                the definitions here would be repaired to match the node's; without dry_run it repairs them.",
            helios_core::quote::literal(schema)
        ),
        None => String::new(),
    };
    Ok(Finding::new("definitions", differ.is_empty(), detail, &remedy))
}

/// Lists the objects that differ.
fn objects(query: &str, session: &mut Session) -> Result<String> {
    let sorted =
        |rows: Vec<(String, String)>| -> BTreeSet<(String, String)> { rows.into_iter().collect() };
    let (shells, nodes) = (sorted(here(query)?), sorted(there(session, query)?));
    let named =
        |side: &BTreeSet<(String, String)>, object: &String| side.iter().any(|(o, _)| o == object);
    let objects: BTreeSet<&String> = shells.symmetric_difference(&nodes).map(|(o, _)| o).collect();
    let mut told: Vec<String> = objects
        .iter()
        .take(SHOWN)
        .map(|object| match (named(&shells, object), named(&nodes, object)) {
            (true, true) => format!("{object} differs"),
            (true, false) => format!("{object} is missing on the node"),
            _ => format!("{object} exists only on the node"),
        })
        .collect();
    if objects.len() > SHOWN {
        told.push(format!("and {} more", objects.len() - SHOWN));
    }
    Ok(format!("Different: {}.", told.join("; ")))
}
