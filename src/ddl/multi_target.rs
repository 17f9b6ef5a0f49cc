//! Commands that process the rows or files of a list of relations: TRUNCATE, LOCK, VACUUM, ANALYZE, REFRESH, CLUSTER,
//! REINDEX. The node does the work; a shell is only locked.
//!
//! Lock order: the shell, as the server would lock the table, then the node's own locks. In the opposite order, two
//! transactions could wait for each other, one here and one on the node, which neither server would detect.

use super::concurrent;
use super::follow_up::FollowUp;
use super::object_location::{self, Location};
use super::statement_scope::begin;
use super::unfinished::{self, Scope};
use super::{send, truncate_triggers};
use crate::catalog::{self, NodeId};
use crate::error::Result;
use crate::executor::reference_writes;
use crate::pg::catalog::object::{self, Belongs};
use crate::pg::hooks::utility::Step;
use crate::pg::session;
use crate::pg::tree::statement::{RelationTarget, Statement};
use pgrx::pg_sys::{NodeTag, Oid};
use pgrx::spi::{quote_identifier, quote_qualified_identifier};
use std::collections::BTreeMap;

/// The relations listed by a command, by location.
struct Places {
    targets: Vec<RelationTarget>,
    here: Vec<usize>,
    nodes: BTreeMap<NodeId, Vec<usize>>,
}

impl Places {
    /// None for another command, or one that lists no shell.
    fn of(statement: &Statement) -> Result<Option<Self>> {
        let Some(targets) = statement.relation_targets() else { return Ok(None) };
        let (mut here, mut nodes) = (Vec::new(), BTreeMap::<NodeId, Vec<usize>>::new());
        for (i, item) in targets.iter().enumerate() {
            // A missing relation is an error of the whole command, which the server raises.
            let Some(relation) = item.relation else { return Ok(None) };
            match object::belongs(object::of_relation(relation)) {
                Some(Belongs::Relation { namespace, .. }) => match catalog::placement(namespace)? {
                    Some(place) => nodes.entry(place.node).or_default().push(i),
                    None => here.push(i),
                },
                _ => here.push(i),
            }
        }
        Ok((!nodes.is_empty()).then_some(Self { targets, here, nodes }))
    }

    fn send(&self, statement: &Statement) -> Result<()> {
        let whole = self.here.is_empty() && self.nodes.len() == 1;
        for (&node, numbers) in &self.nodes {
            let part: Vec<&RelationTarget> = numbers.iter().map(|&i| &self.targets[i]).collect();
            if whole {
                send_one(statement, node, statement.text(), &part)?;
            } else {
                send_one(statement, node, text_for(statement, &part).as_bytes(), &part)?;
            }
        }
        Ok(())
    }
}

/// None for another command, or one on local relations.
pub(super) fn before(statement: &Statement) -> Result<Option<Step>> {
    if let Some(schema) = statement.reindexed_schema() {
        return reindex_schema(statement, &schema);
    }
    if statement.tag() == NodeTag::T_ReindexStmt {
        concurrent::find_left_ones(&statement.relation_targets().unwrap_or_default())?;
    }
    if let Some(step) = truncate_references(statement)? {
        return Ok(Some(step));
    }
    let Some(places) = Places::of(statement)? else { return Ok(None) };
    if statement.tag() == NodeTag::T_LockStmt {
        return Ok(Some(begin(*statement, FollowUp::Lock)));
    }
    if statement.is_vacuum() {
        session::refuse_transaction_block(statement.is_top_level(), c"VACUUM");
    }
    let remote: Vec<&RelationTarget> =
        places.nodes.values().flatten().map(|&i| &places.targets[i]).collect();
    statement.lock_shells(&remote);
    places.send(statement)?;
    Ok(Some(match statement.tag() {
        // The index on which a table is clustered is part of its definition.
        NodeTag::T_ClusterStmt => Step::pass(*statement),
        _ if places.here.is_empty() => Step::done(statement),
        _ => Step::pass(statement.with_targets(&places.here)),
    }))
}

/// LOCK, after the server ran it on the shells.
pub(super) fn locked(statement: &Statement) -> Result<()> {
    match Places::of(statement)? {
        Some(places) => places.send(statement),
        None => Ok(()),
    }
}

/// TRUNCATE of reference tables, with tenants' tables that refer to them in its list or by CASCADE. The server also
/// runs it on the shells, which have no rows: it finds all referencing tables, checks permissions, and raises errors
/// and notices. Each node gets one command with the tables of the list that it has.
fn truncate_references(statement: &Statement) -> Result<Option<Step>> {
    if statement.tag() != NodeTag::T_TruncateStmt {
        return Ok(None);
    }
    let targets = statement.relation_targets().unwrap_or_default();
    let mut places = Vec::new();
    for item in &targets {
        // A missing relation is an error of the whole command, which the server raises.
        let Some(relation) = item.relation else { return Ok(None) };
        places.push(object_location::of(object::of_relation(relation))?);
    }
    if !places.contains(&Some(Location::EveryNode)) {
        return Ok(None);
    }
    let mut parts = Vec::new();
    for node in catalog::remote_nodes()? {
        let there = targets.iter().zip(&places).filter(|(_, place)| match place {
            Some(Location::Node(place, _)) => place.node == node.id,
            Some(Location::EveryNode) => true,
            _ => false,
        });
        let there: Vec<&RelationTarget> = there.map(|(item, _)| item).collect();
        parts.push((node.id, names_of(&there)));
    }
    let relations = targets.iter().filter_map(|item| item.relation).collect();
    let silenced = truncate_triggers::begin(relations)?;
    reference_writes::begin_truncation();
    Ok(Some(begin(*statement, FollowUp::TruncateReferences { parts, silenced })))
}

/// After the server truncated reference tables and the shells that refer to them, adds reference tables that were only
/// reached by CASCADE to the lists of the nodes.
pub(super) fn truncated(
    statement: &Statement,
    parts: &[(NodeId, String)],
    silenced: &[truncate_triggers::Trigger],
) -> Result<()> {
    let emptied = reference_writes::end_truncation();
    truncate_triggers::end(silenced)?;
    let targets = statement.relation_targets().unwrap_or_default();
    let is_target = |relation: &Oid| targets.iter().any(|item| item.relation == Some(*relation));
    let reached = emptied.iter().filter(|relation| !is_target(relation));
    let further: String = reached
        .map(|&relation| format!(", ONLY {}", session::quoted_relation_name(relation)))
        .collect();
    let (head, tail) = statement.around_list();
    parts.iter().try_for_each(|(node, names)| {
        send::part(*node, format!("{head}{names}{further}{tail}").as_bytes())
    })
}

fn send_one(
    statement: &Statement,
    node: NodeId,
    text: &[u8],
    targets: &[&RelationTarget],
) -> Result<()> {
    let scope = (statement.tag() == NodeTag::T_ReindexStmt)
        .then(|| Scope::of(targets.iter().filter_map(|item| item.relation)));
    let commits_itself = matches!(
        statement.tag(),
        NodeTag::T_VacuumStmt | NodeTag::T_ReindexStmt | NodeTag::T_ClusterStmt
    );
    if commits_itself && !statement.in_transaction_block() {
        match &scope {
            Some(scope) => unfinished::alone(node, text, scope, false)?,
            None => send::alone(node, text).map(drop)?,
        }
    } else {
        send::part(node, text)?;
    }
    scope.map_or(Ok(()), |scope| unfinished::rebuilt(node, &scope))
}

fn reindex_schema(statement: &Statement, schema: &str) -> Result<Option<Step>> {
    let Some(place) = catalog::placement_of(schema)? else { return Ok(None) };
    session::refuse_transaction_block(statement.is_top_level(), c"REINDEX SCHEMA");
    let scope = Scope::Schema(schema.to_owned());
    unfinished::alone(place.node, statement.text(), &scope, false)?;
    unfinished::rebuilt(place.node, &scope)?;
    Ok(Some(Step::done(statement)))
}

/// The command for some of its relations, with qualified names.
fn text_for(statement: &Statement, targets: &[&RelationTarget]) -> String {
    let (head, tail) = statement.around_list();
    format!("{head}{}{tail}", names_of(targets))
}

/// A list of qualified relation names.
fn names_of(targets: &[&RelationTarget]) -> String {
    let name = |item: &&RelationTarget| {
        let mut text = if item.only { "ONLY ".to_owned() } else { String::new() };
        match item.relation {
            Some(relation) => text.push_str(&session::quoted_relation_name(relation)),
            None => text.push_str(&quote_qualified_identifier(
                item.schema.as_deref().unwrap_or_default(),
                &item.name,
            )),
        }
        if !item.columns.is_empty() {
            let columns: Vec<String> = item.columns.iter().map(quote_identifier).collect();
            text.push_str(&format!(" ({})", columns.join(", ")));
        }
        text
    };
    let names: Vec<String> = targets.iter().map(name).collect();
    names.join(", ")
}
