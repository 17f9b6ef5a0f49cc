//! Writes to reference tables: the statement runs here, and the rows that it changed are sent to every node.
//!
//! Rows are replicated instead of the statement, so that `random()`, `now()`, defaults and triggers yield the same
//! values everywhere. The nodes apply the changes row by row in the same order, so that their constraints see what this
//! server's saw.
//!
//! Nodes change their copies as the role that changed the table here; see [`super::reference_change`].
//!
//! Lock order: the table as the statement locks it, the cluster's lock in share mode, the table's lock as a reference
//! table (one writing transaction at a time, until all nodes have committed), then the rows on the nodes by node
//! number.

use super::coordinator_request;
use super::reference_change::Writer;
use super::reference_text::{Change, Table};
use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::pg::catalog::names;
use crate::pg::catalog::privileges;
use crate::pg::exec::row_trigger::{Fired, Operation};
use crate::pg::exec::{copy_change, nesting};
use crate::pg::session::xact;
use crate::transaction::{self, Mode};
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode as Code};
use std::cell::RefCell;

/// Number of rows collected before they are sent.
const KEPT: usize = 1000;

/// A statement that writes a reference table.
struct Open {
    relation: Oid,
    operation: Operation,
    depth: u32,
    level: u32,
    /// The role that runs it. Kept for rows that referential actions change later in the same statement of the client,
    /// for which PostgreSQL does not fire another statement trigger.
    writer: Oid,
    /// Whether it is a referential action, or code called by one.
    is_action: bool,
    has_ended: bool,
}

#[derive(Default)]
struct Writes {
    open: Vec<Open>,
    changes: Vec<Change>,
    /// TRUNCATE commands in progress that are sent to the nodes as a whole.
    truncations: Vec<Truncation>,
}

/// A TRUNCATE in progress.
struct Truncation {
    /// Nesting level of its transaction.
    level: u32,
    /// The reference tables that it has truncated.
    emptied: Vec<Oid>,
}

impl Writes {
    /// The role that performs this operation on the table. A row-level trigger may be fired as another role.
    fn writer(&self, relation: Oid, operation: Operation) -> Oid {
        let is = |open: &&Open| open.relation == relation && open.operation == operation;
        self.open.iter().rfind(is).map_or_else(privileges::current_user, |open| open.writer)
    }

    fn end(&mut self, relation: Oid, ends: impl Fn(Operation) -> bool) {
        let ended = self.open.iter_mut().filter(|o| o.relation == relation && ends(o.operation));
        ended.for_each(|open| open.has_ended = true);
    }
}

thread_local! {
    static WRITES: RefCell<Writes> = RefCell::default();
}

/// Discards what was recorded at this nesting level or deeper.
pub fn forget(level: u32) {
    coordinator_request::forget(level);
    copy_change::forget(level);
    WRITES.with(|writes| {
        if let Ok(mut writes) = writes.try_borrow_mut() {
            writes.open.retain(|open| open.level < level);
            writes.changes.retain(|change| change.level < level);
            writes.truncations.retain(|truncation| truncation.level < level);
        }
    });
}

/// Until [`end_truncation`], truncations of reference tables are not sent to nodes, which get the whole command.
pub fn begin_truncation() {
    let level = xact::nest_level();
    let truncation = Truncation { level, emptied: Vec::new() };
    WRITES.with_borrow_mut(|writes| writes.truncations.push(truncation));
}

/// Ends the innermost TRUNCATE here. Returns the reference tables that it has truncated, listed or not, because nodes
/// have no foreign keys between them.
pub fn end_truncation() -> Vec<Oid> {
    let truncation = WRITES.with_borrow_mut(|writes| writes.truncations.pop());
    truncation.map(|truncation| truncation.emptied).unwrap_or_default()
}

/// The trigger of a reference table on this server.
pub fn fired(relation: Oid, fired: Fired) -> Result<()> {
    if !catalog::is_reference(relation)? {
        return Ok(());
    }
    match fired {
        Fired::Before(operation) => begin(relation, operation),
        Fired::Row { old, new } => {
            let level = xact::nest_level();
            let kept = WRITES.with_borrow_mut(|writes| {
                let writer = writes.writer(relation, Operation::of(old.is_some(), new.is_some()));
                writes.changes.push(Change { relation, level, writer, old, new });
                writes.changes.len()
            });
            if kept >= KEPT { flush(relation) } else { Ok(()) }
        }
        Fired::After(operation) => {
            WRITES.with_borrow_mut(|writes| writes.end(relation, |other| other == operation));
            flush(relation)
        }
        Fired::Truncated => {
            let noted = WRITES.with_borrow_mut(|writes| {
                writes.end(relation, |_| true);
                writes.truncations.last_mut().map(|last| last.emptied.push(relation)).is_some()
            });
            if noted {
                return Ok(());
            }
            let table = Table::read(relation)?;
            for node in nodes()? {
                let text = format!("TRUNCATE ONLY {}", table.name);
                transaction::execute(node, text.as_bytes(), Mode::Transaction, true)?;
            }
            Ok(())
        }
    }
}

/// The trigger of a reference table's copy on a node: only the coordinator writes there, and only by itself.
pub fn guard_copy(relation: Oid) -> Result<()> {
    let coordinators = catalog::proof::is_coordinators();
    if coordinators && (!nesting::is_nested() || copy_change::is_under_way(relation)) {
        return Ok(());
    }
    let message = format!(
        "cannot change the copy of reference table \"{}\" on a node",
        names::displayed_relation_name(relation)
    );
    let error = Error::new(Code::ERRCODE_FEATURE_NOT_SUPPORTED, message);
    Err(match coordinators {
        true => error
            .detail("A function or trigger of a distributed schema runs on the node and would change this copy only.")
            .hint("Change the reference table in a separate statement."),
        false => error
            .detail("The change would be made on this node only.")
            .hint("Connect to the coordinator."),
    })
}

fn begin(relation: Oid, operation: Operation) -> Result<()> {
    // A database restored from a dump is refused before it changes its own rows, and whether or not the statement finds any.
    nodes()?;
    catalog::lock_cluster_shared();
    catalog::lock_reference_exclusive(relation);
    let (depth, level) = (nesting::depth(), xact::nest_level());
    // Rows changed by a referential action are recorded when all rows of its statement have changed, and sent in that
    // order.
    let is_action = privileges::in_referential_action();
    let follows = |open: &Open| is_action && !open.is_action && depth == open.depth + 1;
    let nested = WRITES.with_borrow_mut(|writes| {
        let is_open = |open: &Open| !open.has_ended && open.relation == relation;
        let nested = writes.open.iter().any(|o| is_open(o) && o.depth < depth && !follows(o));
        if !writes.open.iter().any(|open| !open.has_ended) {
            writes.open.clear();
        }
        let writer = privileges::current_user();
        let has_ended = false;
        writes.open.push(Open { relation, operation, depth, level, writer, is_action, has_ended });
        nested
    });
    if !nested {
        return Ok(());
    }
    Err(Error::new(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!(
            "cannot change reference table \"{}\" within a statement that changes it",
            names::displayed_relation_name(relation)
        ),
    )
    .detail("The nodes would apply the changes in a different order.")
    .hint("Make the change in a separate statement, or modify NEW in a BEFORE trigger."))
}

/// The other nodes, by number.
///
/// Errors: 55000 for one of another cluster.
fn nodes() -> Result<Vec<NodeId>> {
    let all = catalog::nodes()?;
    let others = all.iter().filter(|node| !node.is_local);
    others.map(|node| node.check_ours().map(|()| node.id)).collect()
}

fn flush(relation: Oid) -> Result<()> {
    let changes = WRITES.with_borrow_mut(|writes| {
        let (ours, others): (Vec<_>, Vec<_>) =
            writes.changes.drain(..).partition(|change| change.relation == relation);
        writes.changes = others;
        ours
    });
    let nodes = nodes()?;
    if changes.is_empty() || nodes.is_empty() {
        return Ok(());
    }
    let table = Table::read(relation)?;
    for changes in changes.chunk_by(|one, next| one.writer == next.writer) {
        let writer = Writer::of(relation, changes[0].writer, operations(changes));
        let (texts, rows): (Vec<Vec<u8>>, Vec<u64>) =
            table.statements(changes)?.into_iter().unzip();
        if texts.is_empty() {
            continue;
        }
        // No statement can affect more rows than expected, so equal sums mean that all are equal.
        let wanted = rows.iter().sum();
        for &node in &nodes {
            let done = writer.change(node, &table, &texts, wanted)?;
            if done != wanted {
                return Err(differs(&table, node, wanted, done));
            }
        }
    }
    Ok(())
}

fn operations(changes: &[Change]) -> Vec<Operation> {
    let all = [Operation::Insert, Operation::Update, Operation::Delete];
    let of = |change: &Change| Operation::of(change.old.is_some(), change.new.is_some());
    all.into_iter().filter(|wanted| changes.iter().any(|change| of(change) == *wanted)).collect()
}

fn differs(table: &Table, node: NodeId, wanted: u64, done: u64) -> Error {
    let node = catalog::node(node).map_or_else(|_| node.0.to_string(), |n| n.name.clone());
    Error::new(
        Code::ERRCODE_DATA_CORRUPTED,
        format!("reference table {} differs on node \"{node}\"", table.name),
    )
    .detail(format!("A change of {wanted} rows affected {done} rows on the node."))
    .hint("Use helios_check_cluster() to compare the copies. To copy the table again, run helios_undistribute_table() \
        and helios_create_reference_table().")
}
