//! Parts of one plan that ask the same node: they see the same rows.
//!
//! On one server a statement has one snapshot. Two statements on a node have one each under READ COMMITTED, so their portals
//! are opened by one call on the node, which has one snapshot for all of them.

use crate::catalog::NodeId;
use crate::error::Result;
use crate::pg::exec::custom_scan::{Attempt, Part, ScanContext};
use crate::pg::session::xact;
use crate::transaction::{self, OpenPortal, PortalQuery};

/// The node that a part asks; None if its schema has moved since it was planned, and the part is planned again when its turn
/// comes.
pub fn place(context: &ScanContext) -> Result<Option<NodeId>> {
    Ok(match super::locate_or_replan(context.plan().namespaces())? {
        Attempt::Done(node) => Some(node),
        Attempt::Replan => None,
    })
}

/// The scan of a part.
pub trait PartScan {
    /// Refuses to begin for other roles than those that it was made for.
    fn check_reader(&self, context: &ScanContext) -> Result<()>;
    /// Lets it read from a portal that is open on its node.
    fn read_from(&mut self, portal: OpenPortal);
}

/// Opens the portals of parts that share a node.
pub fn open_together<S: PartScan>(parts: &mut [Part<'_, S>]) -> Result<()> {
    if parts.len() < 2 || xact::has_one_snapshot() {
        return Ok(());
    }
    let mut nodes: Vec<(NodeId, Vec<usize>)> = Vec::new();
    // Rows that are locked are the newest, whatever the snapshot.
    let reading = parts.iter().enumerate().filter(|(_, part)| !part.context.plan().writes());
    for (index, part) in reading {
        part.scan.check_reader(&part.context)?;
        let Some(node) = place(&part.context)? else { continue };
        match nodes.iter_mut().find(|(known, _)| *known == node) {
            Some((_, members)) => members.push(index),
            None => nodes.push((node, vec![index])),
        }
    }
    for (node, members) in nodes.into_iter().filter(|(_, members)| members.len() > 1) {
        let count = members.iter().map(|&i| parts[i].context.plan().params()).max().unwrap_or(0);
        let mut params = parts[members[0]].context.params(count);
        // No part refers to one of them: what they mean is not the same everywhere.
        params.drop_user_types();
        let formats: Vec<Vec<i16>> =
            members.iter().map(|&i| parts[i].context.formats()).collect::<Result<_>>()?;
        let queries: Vec<PortalQuery<'_>> = members
            .iter()
            .zip(&formats)
            .map(|(&i, formats)| {
                let plan = parts[i].context.plan();
                PortalQuery { sql: plan.sql(), columns: plan.columns(), formats }
            })
            .collect();
        let portals =
            transaction::open_portals(node, &queries, params.types(), &mut params.values())?;
        for (index, portal) in members.into_iter().zip(portals) {
            parts[index].scan.read_from(portal);
        }
    }
    Ok(())
}
