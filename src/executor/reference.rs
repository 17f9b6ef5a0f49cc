//! Writes to reference tables: the statement runs here, and the rows that it changed go to every node.
//!
//! What is copied are rows and not the statement, so that `random()`, `now()`, defaults and triggers give the same
//! values everywhere. The nodes do what was done here, row by row in the same order, so that their constraints see what
//! this server's saw.
//!
//! Lock order: the table as the statement locks it, the cluster's lock in share mode, the table's lock as a reference
//! table (one writing transaction at a time, until all nodes have committed), then the rows on the nodes by node number.

use crate::directory::{self, NodeId};
use crate::error::{Error, Result};
use crate::pg::own_settings::OwnSettings;
use crate::pg::row_trigger::{Fired, Values};
use crate::pg::{names, nesting, sql, xact};
use crate::remote::messages;
use crate::transaction::{self, Mode};
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode as Code};
use std::cell::RefCell;

/// Rows kept before they are sent.
const KEPT: usize = 1000;
/// Rows in one statement for a node.
const BATCH: usize = 500;

/// A statement that writes a reference table and has not ended.
struct Open {
    relation: Oid,
    depth: u32,
    level: u32,
}

/// A row that was changed and not sent yet.
struct Change {
    relation: Oid,
    level: u32,
    old: Option<Values>,
    new: Option<Values>,
}

#[derive(Default)]
struct Writes {
    open: Vec<Open>,
    changes: Vec<Change>,
    /// The TRUNCATEs under way that the nodes follow as whole statements.
    truncations: Vec<Truncation>,
}

/// A TRUNCATE under way.
struct Truncation {
    /// Nesting level of the transaction that it runs in.
    level: u32,
    /// The reference tables that it has emptied.
    emptied: Vec<Oid>,
}

thread_local! {
    static WRITES: RefCell<Writes> = RefCell::default();
}

/// Forgets what was noted at this nesting level or deeper.
pub fn forget(level: u32) {
    WRITES.with(|writes| {
        if let Ok(mut writes) = writes.try_borrow_mut() {
            writes.open.retain(|open| open.level < level);
            writes.changes.retain(|change| change.level < level);
            writes.truncations.retain(|truncation| truncation.level < level);
        }
    });
}

/// From now to [`end_truncation`] nodes are not told that a reference table is truncated: they get the whole statement.
pub fn begin_truncation() {
    let level = xact::nest_level();
    let truncation = Truncation { level, emptied: Vec::new() };
    WRITES.with_borrow_mut(|writes| writes.truncations.push(truncation));
}

/// The TRUNCATE that began last has been done here. Gives the reference tables that it has emptied, listed or not: on the
/// nodes no foreign key leads from one to the other.
pub fn end_truncation() -> Vec<Oid> {
    let truncation = WRITES.with_borrow_mut(|writes| writes.truncations.pop());
    truncation.map(|truncation| truncation.emptied).unwrap_or_default()
}

/// The trigger of a reference table on this server.
pub fn fired(relation: Oid, fired: Fired) -> Result<()> {
    if !directory::is_reference(relation)? {
        return Ok(());
    }
    match fired {
        Fired::Before => begin(relation),
        Fired::Row { old, new } => {
            let level = xact::nest_level();
            let kept = WRITES.with_borrow_mut(|writes| {
                writes.changes.push(Change { relation, level, old, new });
                writes.changes.len()
            });
            if kept >= KEPT { flush(relation) } else { Ok(()) }
        }
        Fired::After => {
            WRITES.with_borrow_mut(|writes| writes.open.retain(|open| open.relation != relation));
            flush(relation)
        }
        Fired::Truncated => {
            let noted = WRITES.with_borrow_mut(|writes| {
                writes.open.retain(|open| open.relation != relation);
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
    let coordinators = directory::proof::is_coordinators();
    if coordinators && !nesting::is_nested() {
        return Ok(());
    }
    let message = format!(
        "cannot change the copy of reference table \"{}\" on a node",
        names::relation_name(relation)
    );
    let error = Error::new(Code::ERRCODE_FEATURE_NOT_SUPPORTED, message);
    Err(match coordinators {
        true => error
            .detail("A function or trigger of a distributed schema runs on the node, and the change would be made there alone.")
            .hint("Change the reference table in a statement of its own."),
        false => error
            .detail("The change would be made on this node alone.")
            .hint("Connect to the coordinator."),
    })
}

fn begin(relation: Oid) -> Result<()> {
    directory::lock_cluster_shared();
    directory::lock_reference_exclusive(relation);
    let (depth, level) = (nesting::depth(), xact::nest_level());
    let nested = WRITES.with_borrow_mut(|writes| {
        let nested = writes.open.iter().any(|open| open.relation == relation && open.depth < depth);
        writes.open.push(Open { relation, depth, level });
        nested
    });
    if !nested {
        return Ok(());
    }
    Err(Error::new(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!(
            "cannot change reference table \"{}\" within a statement that changes it",
            names::relation_name(relation)
        ),
    )
    .detail("The order of the changes would not be the same on the nodes.")
    .hint("Make the change in a statement of its own, or in a BEFORE trigger through NEW."))
}

/// The nodes besides this server, by number. Those of another cluster give an error when they are written to.
fn nodes() -> Result<Vec<NodeId>> {
    let all = directory::nodes()?;
    Ok(all.iter().filter(|node| !node.is_local).map(|node| node.id).collect())
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
    let (texts, rows): (Vec<Vec<u8>>, Vec<u64>) = table.statements(&changes)?.into_iter().unzip();
    // No statement can change more rows than it says, so the sums are equal only if all are.
    let wanted = rows.iter().sum();
    for node in nodes {
        let done = transaction::execute_all(node, &texts)?;
        if done != wanted {
            return Err(table.differs(node, wanted, done));
        }
    }
    Ok(())
}

/// A column of a reference table.
struct Column {
    /// Index into [`Values`].
    at: usize,
    /// Its name, quoted where needed.
    name: String,
    in_key: bool,
    always_identity: bool,
}

struct Table {
    name: String,
    columns: Vec<Column>,
}

impl Table {
    fn read(relation: Oid) -> Result<Self> {
        let _path = OwnSettings::safe_path();
        let name =
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n
                        ON n.oid = c.relnamespace WHERE c.oid = $1";
        let name = sql::read_one::<String>(name, &[relation.into()])?.unwrap_or_default();
        let columns = "SELECT a.attnum::int, quote_ident(a.attname), coalesce(a.attnum = ANY (k.conkey), false),
                              a.attidentity = 'a'
                         FROM pg_attribute a LEFT JOIN pg_constraint k ON k.conrelid = a.attrelid AND k.contype = 'p'
                        WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
                        ORDER BY a.attnum";
        let columns = sql::read_rows(columns, &[relation.into()], |row| {
            Ok(Column {
                at: row.get::<i32>(1)?.unwrap_or(1) as usize - 1,
                name: row.get::<String>(2)?.unwrap_or_default(),
                in_key: row.get::<bool>(3)?.unwrap_or(false),
                always_identity: row.get::<bool>(4)?.unwrap_or(false),
            })
        })?;
        Ok(Self { name, columns })
    }

    /// Statements that do on a node what was done here, each with the number of rows that it changes.
    fn statements(&self, changes: &[Change]) -> Result<Vec<(Vec<u8>, u64)>> {
        let mut statements: Vec<(Vec<u8>, u64)> = Vec::new();
        let kind = |change: &Change| (change.old.is_some(), change.new.is_some());
        for run in changes.chunk_by(|one, next| kind(one) == kind(next)) {
            match kind(&run[0]) {
                (false, _) => {
                    let rows: Vec<&Values> = run.iter().filter_map(|c| c.new.as_ref()).collect();
                    statements.extend(rows.chunks(BATCH).map(|rows| self.insert(rows)));
                }
                (true, false) => {
                    let rows: Vec<&Values> = run.iter().filter_map(|c| c.old.as_ref()).collect();
                    statements.extend(rows.chunks(BATCH).map(|rows| self.delete(rows)));
                }
                (true, true) => {
                    for (old, new) in run.iter().filter_map(|c| c.old.as_ref().zip(c.new.as_ref()))
                    {
                        statements.extend(self.update(old, new)?);
                    }
                }
            }
        }
        Ok(statements)
    }

    fn insert(&self, rows: &[&Values]) -> (Vec<u8>, u64) {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let head = format!(
            "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ",
            self.name,
            names.join(", ")
        );
        let mut text = head.into_bytes();
        self.tuples(&mut text, rows, |_| true);
        (text, rows.len() as u64)
    }

    fn delete(&self, rows: &[&Values]) -> (Vec<u8>, u64) {
        let keys: Vec<&str> =
            self.columns.iter().filter(|c| c.in_key).map(|c| c.name.as_str()).collect();
        let head = format!("DELETE FROM ONLY {} WHERE ({}) IN (", self.name, keys.join(", "));
        let mut text = head.into_bytes();
        self.tuples(&mut text, rows, |column| column.in_key);
        text.push(b')');
        (text, rows.len() as u64)
    }

    /// None: nothing that nodes keep has changed.
    fn update(&self, old: &Values, new: &Values) -> Result<Option<(Vec<u8>, u64)>> {
        let changed: Vec<&Column> =
            self.columns.iter().filter(|c| old.get(c.at) != new.get(c.at)).collect();
        if changed.is_empty() {
            return Ok(None);
        }
        if let Some(column) = changed.iter().find(|column| column.always_identity) {
            return Err(Error::new(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("cannot update identity column {} of a reference table", column.name),
            )
            .detail("Nodes cannot be given the new value of a column that is GENERATED ALWAYS.")
            .hint("Delete the row and insert another one."));
        }
        let mut text = format!("UPDATE ONLY {} SET ", self.name).into_bytes();
        for (i, column) in changed.iter().enumerate() {
            text.extend_from_slice(if i > 0 { b", " } else { b"" });
            text.extend_from_slice(column.name.as_bytes());
            text.extend_from_slice(b" =");
            constant(&mut text, new.get(column.at));
        }
        let keys = self.columns.iter().filter(|column| column.in_key);
        for (i, column) in keys.enumerate() {
            text.extend_from_slice(if i > 0 { b" AND " } else { b" WHERE " });
            text.extend_from_slice(column.name.as_bytes());
            text.extend_from_slice(b" =");
            constant(&mut text, old.get(column.at));
        }
        Ok(Some((text, 1)))
    }

    /// `(…), (…)`: of each row the columns that are wanted.
    fn tuples(&self, text: &mut Vec<u8>, rows: &[&Values], wanted: impl Fn(&Column) -> bool) {
        for (i, row) in rows.iter().enumerate() {
            text.extend_from_slice(if i > 0 { b", (" } else { b"(" });
            for (j, column) in self.columns.iter().filter(|column| wanted(column)).enumerate() {
                text.extend_from_slice(if j > 0 { b"," } else { b"" });
                constant(text, row.get(column.at));
            }
            text.push(b')');
        }
    }

    fn differs(&self, node: NodeId, wanted: u64, done: u64) -> Error {
        let name = directory::node(node).map_or_else(|_| node.0.to_string(), |n| n.name.clone());
        Error::new(
            Code::ERRCODE_DATA_CORRUPTED,
            format!("reference table {} differs on node \"{name}\"", self.name),
        )
        .detail(format!("A change of {wanted} rows found {done} there."))
        .hint("helios_check_cluster() compares the copies. To make them anew, run helios_undistribute_table() and helios_create_reference_table().")
    }
}

fn constant(text: &mut Vec<u8>, value: Option<&Option<Vec<u8>>>) {
    match value {
        Some(Some(value)) => messages::literal(text, value),
        _ => text.extend_from_slice(b" NULL"),
    }
}
