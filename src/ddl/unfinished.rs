//! What a failed command with CONCURRENTLY leaves behind on its node: an invalid index, or a partition pending detach.
//! PostgreSQL shows that, and so must the shell, or nobody could drop, rebuild or finish it.
//!
//! After a failure and before the next command of this kind, the node's state is read and applied to the shell. An
//! index on a TOAST table has another name on each server and is omitted.

use super::local_only::locally;
use super::send;
use crate::catalog::{self, NodeId};
use crate::error::Result;
use crate::pg::catalog::names;
use crate::pg::error::{catch_cancel, notify};
use crate::pg::exec::nesting::commit_and_begin;
use crate::pg::session::own_settings::OwnSettings;
use crate::pg::session::{self, sql, subtransaction};
use crate::remote::cancel_everything;
use crate::transaction::{self, Mode, SafePath};
use helios_core::quote::{identifier, literal, qualified};
use pgrx::PgLogLevel;
use pgrx::pg_sys::Oid;

/// Lock timeout for shells, behind which others queue.
const LOCK_TIMEOUT: &std::ffi::CStr = c"1s";

/// The tables that are looked at.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    /// These.
    Tables(Vec<(String, String)>),
    /// All of a schema.
    Schema(String),
}

impl Scope {
    /// Tables, and those of the indexes among them.
    pub(super) fn of(relations: impl IntoIterator<Item = Oid>) -> Self {
        let name = |relation: Oid| {
            let table = names::table_of_index(relation).unwrap_or(relation);
            let schema = session::namespace_name(names::relation_namespace(table)?)?;
            Some((schema, names::relation_local_name(table)?))
        };
        Self::Tables(relations.into_iter().filter_map(name).collect())
    }

    /// A condition on pg_namespace `n` and pg_class `t`.
    fn condition(&self) -> String {
        match self {
            Self::Schema(schema) => format!("n.nspname = {}", literal(schema)),
            Self::Tables(tables) => {
                let all: Vec<_> = tables
                    .iter()
                    .map(|(schema, table)| {
                        format!(
                            "n.nspname = {} AND t.relname = {}",
                            literal(schema),
                            literal(table)
                        )
                    })
                    .collect();
                format!("({})", if all.is_empty() { "false".to_owned() } else { all.join(" OR ") })
            }
        }
    }
}

/// One column of a row is text or NULL.
type Cells = Vec<Option<String>>;

fn cell(row: &Cells, at: usize) -> &str {
    row.get(at).and_then(Option::as_deref).unwrap_or_default()
}

/// Columns: schema, name, whether it is valid, ready and live, definition, whether it is of a constraint.
fn indexes(scope: &Scope) -> String {
    format!(
        "SELECT n.nspname::text, i.relname::text, concat_ws(',', x.indisvalid, x.indisready, x.indislive), pg_catalog.pg_get_indexdef(i.oid),
                EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.oid)::text
           FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
                JOIN pg_catalog.pg_class t ON t.oid = x.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
          WHERE i.relkind = 'i' AND {}",
        scope.condition()
    )
}

/// Partitions that are being detached. Columns: schema and name of the partition, of the parent, and a check that stands
/// for the bounds: name, definition.
fn detached(scope: &Scope) -> String {
    format!(
        "SELECT m.nspname::text, c.relname::text, n.nspname::text, t.relname::text, k.conname::text, pg_catalog.pg_get_constraintdef(k.oid)
           FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid JOIN pg_catalog.pg_namespace m ON m.oid = c.relnamespace
                JOIN pg_catalog.pg_class t ON t.oid = h.inhparent JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
                LEFT JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.contype = 'c' AND k.conislocal
          WHERE h.inhdetachpending AND {}",
        scope.condition()
    )
}

fn here(query: &str, columns: usize) -> Result<Vec<Cells>> {
    sql::read_rows(query, &[], |row| (1..=columns).map(|at| row.get::<String>(at)).collect())
}

fn there(node: NodeId, query: &str) -> Result<Vec<Cells>> {
    transaction::query(node, query.as_bytes(), Mode::Autocommit)
}

/// Makes the shells show what the node shows. What cannot be had soon is left for the next time.
///
/// `dropping`: an index that only the shell has is gone.
pub(super) fn follow(node: NodeId, scope: &Scope, dropping: bool) -> Result<()> {
    let _path = SafePath::begin();
    let (indexes, detached) = (indexes(scope), detached(scope));
    let (here_now, there_now) = (here(&indexes, 5)?, there(node, &indexes)?);
    let (pending_here, pending_there) = (here(&detached, 6)?, there(node, &detached)?);
    let mut changes = Vec::new();
    for index in &there_now {
        changes.extend(index_changes(index, &here_now));
    }
    let is_there = |index: &Cells| there_now.iter().any(|other| other[..2] == index[..2]);
    for gone in here_now.iter().filter(|index| !is_there(index)) {
        if cell(gone, 4) == "false" && (dropping || cell(gone, 2) != VALID) {
            changes.push(Change::Definition(format!("DROP INDEX {}", name_of(gone))));
        }
    }
    for pending in &pending_there {
        changes.extend(detach_changes(pending, &pending_here)?);
    }
    if changes.is_empty() {
        return Ok(());
    }
    subtransaction::attempt(|| {
        let _settings = OwnSettings::begin(&[(c"lock_timeout", LOCK_TIMEOUT)]);
        changes.iter().try_for_each(|change| match change {
            Change::Definition(sql) => locally(|| sql::run(sql, &[])),
            Change::Catalog(sql) => catalog::as_owner(|| sql::run(sql, &[])),
        })
    })
}

/// After indexes were rebuilt on the node: what could not be used may be usable now.
pub(super) fn rebuilt(node: NodeId, scope: &Scope) -> Result<()> {
    let unusable = |index: &Cells| cell(index, 2) != VALID;
    let is_concerned = {
        let _path = OwnSettings::safe_path();
        here(&indexes(scope), 5)?.iter().any(unusable)
    };
    if is_concerned { follow(node, scope, false) } else { Ok(()) }
}

/// DETACH PARTITION CONCURRENTLY has made a check of the partition's bounds on the node, which DETACH PARTITION, as the shell
/// runs it, does not make.
pub(super) fn follow_checks(node: NodeId, partition: Oid) -> Result<()> {
    let _path = SafePath::begin();
    let Scope::Tables(tables) = Scope::of([partition]) else { return Ok(()) };
    let Some((schema, name)) = tables.first() else { return Ok(()) };
    let query = format!(
        "SELECT k.conname::text, pg_catalog.pg_get_constraintdef(k.oid)
           FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class t ON t.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
          WHERE k.contype = 'c' AND n.nspname = {} AND t.relname = {}",
        literal(schema),
        literal(name)
    );
    let known = here(&query, 2)?;
    for check in there(node, &query)? {
        if !known.iter().any(|other| other[..1] == check[..1]) {
            let (constraint, definition) = (identifier(cell(&check, 0)), cell(&check, 1));
            let table = qualified(schema, name);
            let add = format!("ALTER TABLE ONLY {table} ADD CONSTRAINT {constraint} {definition}");
            locally(|| sql::run(&add, &[]))?;
        }
    }
    Ok(())
}

/// What [`indexes`] says of an index that can be used.
const VALID: &str = "t,t,t";

/// A change of the shell.
enum Change {
    /// As the user.
    Definition(String),
    /// A mark that no statement sets.
    Catalog(String),
}

fn name_of(row: &Cells) -> String {
    qualified(cell(row, 0), cell(row, 1))
}

fn index_changes(index: &Cells, here: &[Cells]) -> Vec<Change> {
    let shell = here.iter().find(|other| other[..2] == index[..2]);
    let (marks, is_constraint) = (cell(index, 2), cell(index, 4) == "true");
    let mut changes = Vec::new();
    match shell {
        Some(shell) if cell(shell, 2) == marks => return changes,
        Some(_) => {}
        None if is_constraint => return changes,
        None => changes.push(Change::Definition(cell(index, 3).to_owned())),
    }
    let [valid, ready, live] = [0, 1, 2].map(|at| marks.split(',').nth(at).unwrap_or("t"));
    if shell.is_some() || marks != VALID {
        changes.push(Change::Catalog(format!(
            "UPDATE pg_catalog.pg_index SET indisvalid = {}, indisready = {}, indislive = {}
              WHERE indexrelid = {}::pg_catalog.regclass",
            literal(valid),
            literal(ready),
            literal(live),
            literal(&name_of(index))
        )));
    }
    changes
}

fn detach_changes(pending: &Cells, here: &[Cells]) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let partition = name_of(pending);
    let parent = qualified(cell(pending, 2), cell(pending, 3));
    let check = cell(pending, 4);
    let has_check = "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = $1::pg_catalog.regclass AND conname = $2::name)";
    let arguments = [partition.as_str().into(), check.into()];
    if !check.is_empty() && sql::read_one::<bool>(has_check, &arguments)? == Some(false) {
        let check = identifier(check);
        let definition = cell(pending, 5);
        changes.push(Change::Definition(format!(
            "ALTER TABLE ONLY {partition} ADD CONSTRAINT {check} {definition}"
        )));
    }
    if !here.iter().any(|other| other[..4] == pending[..4]) {
        changes.push(Change::Catalog(format!(
            "UPDATE pg_catalog.pg_inherits SET inhdetachpending = true
              WHERE inhrelid = {}::pg_catalog.regclass AND inhparent = {}::pg_catalog.regclass",
            literal(&partition),
            literal(&parent)
        )));
    }
    Ok(changes)
}

/// Runs a statement on its node so that it commits by itself. If it fails there, the shells follow what it has left, and
/// keep that although the statement fails here too.
pub(super) fn alone(node: NodeId, text: &[u8], scope: &Scope, dropping: bool) -> Result<()> {
    let mut is_under_way = true;
    let done = catch_cancel(|| {
        let done = send::alone(node, text);
        is_under_way = false;
        done
    });
    let Err(error) = done else { return Ok(()) };
    if is_under_way {
        // What is asked next waits for the answer to this.
        cancel_everything();
    }
    match follow(node, scope, dropping) {
        Ok(()) => commit_and_begin()?,
        // The next statement about the table finds it.
        Err(later) => notify(PgLogLevel::LOG, &later),
    }
    Err(error)
}
