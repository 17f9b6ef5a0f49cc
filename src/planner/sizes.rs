//! Sizes of tables on nodes, for the estimates of plans over several places: the node's own estimates, kept for a while.

use super::relations::is_remote;
use crate::catalog::{self, NodeId};
use crate::error::Result;
use crate::pg::catalog::names;
use crate::pg::exec::part_path::Size;
use crate::pg::ipc::wait;
use crate::pg::session;
use crate::transaction::{self, Mode};
use helios_core::quote::literal;
use pgrx::pg_sys::Oid;
use std::cell::RefCell;
use std::collections::HashMap;

/// How long a size is believed, in microseconds.
const LIFETIME: i64 = 60_000_000;
/// Bytes of a page.
const PAGE: f64 = 8192.0;
/// Rows on a page of a table that was never analysed.
const ROWS_ON_A_PAGE: f64 = 60.0;
/// Sizes kept in a backend; all are forgotten when there are more.
const KEPT: usize = 65_536;

#[derive(Clone, Copy)]
struct Known {
    size: Size,
    since: i64,
}

thread_local! {
    static KNOWN: RefCell<HashMap<Oid, Known>> = RefCell::new(HashMap::new());
}

fn known(relation: Oid) -> Option<Size> {
    let now = wait::statement_start();
    let known = KNOWN.with_borrow(|sizes| sizes.get(&relation).copied());
    known.filter(|known| now - known.since < LIFETIME).map(|known| known.size)
}

/// The size of a relation that is on a node; None if the node does not have it.
pub fn of(relation: Oid) -> Result<Option<Size>> {
    if known(relation).is_none() {
        fetch(&[relation])?;
    }
    Ok(known(relation))
}

/// Asks the nodes for the sizes of those relations that are on one, in one statement for each node.
pub fn fetch(relations: &[Oid]) -> Result<()> {
    let mut nodes: Vec<(NodeId, Vec<(Oid, String)>)> = Vec::new();
    for &relation in relations {
        if !is_remote(relation)? || known(relation).is_some() {
            continue;
        }
        let Some(namespace) = names::relation_namespace(relation) else { continue };
        let Some(placement) = catalog::placement(namespace)? else { continue };
        let name = session::quoted_relation_name(relation);
        match nodes.iter_mut().find(|(node, _)| *node == placement.node) {
            Some((_, members)) => members.push((relation, name)),
            None => nodes.push((placement.node, vec![(relation, name)])),
        }
    }
    nodes.iter().try_for_each(|(node, members)| fetch_from(*node, members))
}

/// The pages that a table has now, with as many rows on each as when it was analysed last: PostgreSQL's own estimate.
fn fetch_from(node: NodeId, relations: &[(Oid, String)]) -> Result<()> {
    let names: Vec<String> = relations.iter().map(|(_, name)| literal(name)).collect();
    let sql = format!(
        "SELECT n.i, c.reltuples, c.relpages, pg_catalog.pg_relation_size(c.oid)
           FROM pg_catalog.unnest(ARRAY[{}]) WITH ORDINALITY AS n (name, i)
           JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(n.name)",
        names.join(", ")
    );
    let rows = transaction::query(node, sql.as_bytes(), Mode::Transaction)?;
    let since = wait::statement_start();
    KNOWN.with_borrow_mut(|sizes| {
        if sizes.len() + rows.len() > KEPT {
            sizes.clear();
        }
        for row in rows {
            let number = |at: usize| row.get(at)?.as_deref()?.parse::<f64>().ok();
            let relation = number(0).and_then(|i| relations.get((i as usize).checked_sub(1)?));
            let Some((relation, _)) = relation else { continue };
            let [rows, pages, bytes] = [1, 2, 3].map(|at| number(at).unwrap_or_default());
            let now = bytes / PAGE;
            let on_a_page = if rows > 0.0 && pages > 0.0 { rows / pages } else { ROWS_ON_A_PAGE };
            let size = Size { pages: now as u32, rows: on_a_page * now };
            sizes.insert(*relation, Known { size, since });
        }
    });
    Ok(())
}
