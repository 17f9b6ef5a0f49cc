//! Error messages for statements that cannot be routed.

use super::Touched;
use crate::quote;
use std::collections::BTreeSet;

/// Maximum number of objects named in a detail.
const NAMED: usize = 8;

/// The error with SQLSTATE 0A000 for a statement that cannot be routed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The primary message.
    pub message: String,
    /// The locations of the objects.
    pub detail: String,
    /// The remedy.
    pub hint: String,
}

impl Refusal {
    pub(super) fn new(
        nodes: &BTreeSet<i32>,
        remote: &BTreeSet<(&str, i32)>,
        local: &BTreeSet<&Touched>,
        node_name: &dyn Fn(i32) -> String,
    ) -> Self {
        let mut places: Vec<String> = remote
            .iter()
            .map(|(schema, node)| {
                format!("schema \"{schema}\" is on node \"{}\"", node_name(*node))
            })
            .collect();
        // a node that is only involved because of lastval()
        let bare = nodes.iter().filter(|node| !remote.iter().any(|(_, known)| known == *node));
        places.extend(bare.map(|node| {
            format!("the sequence last used by nextval() is on node \"{}\"", node_name(*node))
        }));
        places.extend(local.iter().map(|thing| match thing {
            Touched::Reference { name, .. } => {
                format!("reference table \"{name}\" must be changed or locked on every node")
            }
            _ => format!("{} is on the coordinator", name(thing)),
        }));
        // its defaults may call nextval()
        let only_references = local.iter().any(|thing| matches!(thing, Touched::Reference { .. }))
            && local.iter().all(|thing| {
                matches!(thing, Touched::Reference { .. } | Touched::LocalSequence { .. })
            });
        let (message, hint) = if only_references {
            (
                "statement touches a distributed schema and changes or locks a reference table"
                    .to_string(),
                "Run separate statements in one transaction. With FOR UPDATE or FOR SHARE, list the tables of the \
                    distributed schema after OF."
                    .to_string(),
            )
        } else if local.is_empty() {
            (
                format!("statement touches distributed schemas on {} nodes", nodes.len()),
                across_nodes(remote),
            )
        } else {
            (
                "statement touches a distributed schema and objects on the coordinator".to_string(),
                across_servers(local, remote),
            )
        };
        Refusal { message, detail: sentence(places), hint }
    }
}

/// The remedy for schemas on several nodes.
fn across_nodes(remote: &BTreeSet<(&str, i32)>) -> String {
    let mut each = remote.iter();
    let other = |first: &(&str, i32)| remote.iter().find(|(_, node)| *node != first.1);
    match each.next().and_then(|first| Some((first.0, other(first)?.0))) {
        Some((one, other)) => format!(
            "Run a separate statement for each node, or bring the schemas to one node: SELECT helios_colocate({}, {});",
            quote::literal(other),
            quote::literal(one)
        ),
        None => "Call lastval() in a separate statement.".into(),
    }
}

/// The remedy for objects on the coordinator together with distributed schemas.
fn across_servers(local: &BTreeSet<&Touched>, remote: &BTreeSet<(&str, i32)>) -> String {
    let schema = remote.first().map_or("", |(schema, _)| schema);
    match local.first() {
        Some(Touched::LocalTable { name, .. }) => format!(
            "Run separate statements in one transaction, or make it a reference table: SELECT helios_create_reference_table({});",
            quote::literal(name)
        ),
        Some(Touched::LocalSequence { name }) => format!(
            "Use the sequence in a separate statement, or move it to the distributed schema: ALTER SEQUENCE {name} SET SCHEMA {};",
            quote::identifier(schema)
        ),
        Some(Touched::LastValue { .. }) => "Call lastval() in a separate statement.".into(),
        Some(Touched::RowsOfView { .. }) => {
            "Name the columns of the view instead of its whole rows.".into()
        }
        _ => "Run separate statements in one transaction.".into(),
    }
}

fn name(thing: &Touched) -> String {
    match thing {
        Touched::LocalTable { name, .. } => format!("table \"{name}\""),
        Touched::Reference { name, .. } => format!("reference table \"{name}\""),
        Touched::TempTable { name } => format!("temporary table \"{name}\""),
        Touched::RowsOfView { name } => format!("the type of rows of view \"{name}\""),
        Touched::LocalSequence { name } => format!("sequence \"{name}\""),
        Touched::LastValue { .. } => "the sequence last used by nextval()".into(),
        Touched::Remote { schema, .. } | Touched::Advanced { schema, .. } => {
            format!("schema \"{schema}\"")
        }
        Touched::Catalog => "the system catalog".into(),
    }
}

/// `Schema "a" is …, schema "b" is ….`, limited to some objects.
fn sentence(mut places: Vec<String>) -> String {
    places.dedup();
    let more = places.len().saturating_sub(NAMED);
    places.truncate(NAMED);
    if more > 0 {
        places.push(format!("and {more} more"));
    }
    let mut text = places.join(", ");
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text.push('.');
    text
}
