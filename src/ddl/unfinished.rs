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
use crate::pg::catalog::privileges::RunAs;
use crate::pg::error::{catch_cancel, notify};
use crate::pg::exec::nesting::commit_and_begin;
use crate::pg::session::own_settings::OwnSettings;
use crate::pg::session::{self, sql, subtransaction};
use crate::remote::{cancel_everything, cells, read_own_rows};
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

/// An index of a table.
struct Index {
    /// Of the table and the index.
    schema: String,
    table: String,
    name: String,
    /// Whether it is valid, ready and live; see [`VALID`].
    marks: String,
    definition: String,
    is_of_constraint: bool,
}

impl Index {
    fn query(scope: &Scope) -> String {
        format!(
            "SELECT n.nspname::text, t.relname::text, i.relname::text, concat_ws(',', x.indisvalid, x.indisready, x.indislive),
                    pg_catalog.pg_get_indexdef(i.oid),
                    EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.oid)::text
               FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
                    JOIN pg_catalog.pg_class t ON t.oid = x.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
              WHERE i.relkind = 'i' AND {}",
            scope.condition()
        )
    }

    /// A row of [`Index::query`].
    fn read([schema, table, name, marks, definition, is_of_constraint]: [String; 6]) -> Self {
        let is_of_constraint = is_of_constraint == "true";
        Self { schema, table, name, marks, definition, is_of_constraint }
    }

    fn is(&self, other: &Self) -> bool {
        (&self.schema, &self.name) == (&other.schema, &other.name)
    }

    fn qualified(&self) -> String {
        qualified(&self.schema, &self.name)
    }
}

/// A partition that is being detached.
struct Detached {
    partition: String,
    parent: String,
    /// The check constraint that replaces the partition bounds; empty if there is none.
    check: String,
    check_definition: String,
}

impl Detached {
    fn query(scope: &Scope) -> String {
        format!(
            "SELECT m.nspname::text, c.relname::text, n.nspname::text, t.relname::text, k.conname::text, pg_catalog.pg_get_constraintdef(k.oid)
               FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid JOIN pg_catalog.pg_namespace m ON m.oid = c.relnamespace
                    JOIN pg_catalog.pg_class t ON t.oid = h.inhparent JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
                    LEFT JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.contype = 'c' AND k.conislocal
              WHERE h.inhdetachpending AND {}",
            scope.condition()
        )
    }

    /// A row of [`Detached::query`].
    fn read([schema, name, of_schema, of_name, check, check_definition]: [String; 6]) -> Self {
        let (partition, parent) = (qualified(&schema, &name), qualified(&of_schema, &of_name));
        Self { partition, parent, check, check_definition }
    }
}

/// Rows on this server. Nodes return rows without column names, so both are read by position.
fn here<const N: usize, T>(query: &str, read: fn([String; N]) -> T) -> Result<Vec<T>> {
    read_own_rows(query)?.into_iter().map(|row| Ok(read(cells(row)?))).collect()
}

/// Rows on a node.
fn there<const N: usize, T>(
    node: NodeId,
    query: &str,
    read: fn([String; N]) -> T,
) -> Result<Vec<T>> {
    let rows = transaction::query(node, query.as_bytes(), Mode::Autocommit)?;
    rows.into_iter().map(|row| Ok(read(cells(row)?))).collect()
}

/// Updates the shells to match the node. What cannot be locked soon is left for the next time.
///
/// `dropping`: an index that exists only on the shell has been dropped on the node.
pub(super) fn follow(node: NodeId, scope: &Scope, dropping: bool) -> Result<()> {
    let _path = SafePath::begin();
    let (indexes, detached) = (Index::query(scope), Detached::query(scope));
    let here_now = here(&indexes, Index::read)?;
    let there_now = there(node, &indexes, Index::read)?;
    let pending_here = here(&detached, Detached::read)?;
    let pending_there = there(node, &detached, Detached::read)?;
    let mut changes = Vec::new();
    for index in &there_now {
        changes.extend(index_changes(index, &here_now));
    }
    let is_there = |index: &Index| there_now.iter().any(|other| other.is(index));
    for gone in here_now.iter().filter(|index| !is_there(index)) {
        if !gone.is_of_constraint && (dropping || gone.marks != VALID) {
            changes.push(Change::Definition(format!("DROP INDEX {}", gone.qualified())));
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
            Change::Parsed { table, text } => parse_as_owner(table, text),
            Change::Catalog(sql) => catalog::as_owner(|| sql::run(sql, &[])),
        })
    })
}

/// After indexes were rebuilt on the node: what could not be used may be usable now.
pub(super) fn rebuilt(node: NodeId, scope: &Scope) -> Result<()> {
    let unusable = |index: &Index| index.marks != VALID;
    let is_concerned = {
        let _path = OwnSettings::safe_path();
        here(&Index::query(scope), Index::read)?.iter().any(unusable)
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
    let pair = |[name, definition]: [String; 2]| (name, definition);
    let known = here(&query, pair)?;
    for (constraint, definition) in there(node, &query, pair)? {
        if !known.iter().any(|(other, _)| *other == constraint) {
            let (table, constraint) = (qualified(schema, name), identifier(&constraint));
            let add = format!("ALTER TABLE ONLY {table} ADD CONSTRAINT {constraint} {definition}");
            parse_as_owner(&table, &add)?;
        }
    }
    Ok(())
}

/// Runs a statement with expressions of a table's owner as the owner, because parsing literals may run his code. As the user
/// if he has not the owner's privileges: then PostgreSQL refuses it.
fn parse_as_owner(table: &str, text: &str) -> Result<()> {
    let owner = "SELECT c.relowner FROM pg_catalog.pg_class c
                  WHERE c.oid = pg_catalog.to_regclass($1) AND pg_catalog.pg_has_role(c.relowner, 'USAGE')";
    let owner = sql::one::<Oid>(owner, &[table.into()])?;
    let _as_owner = owner.map(RunAs::restricted);
    locally(|| sql::run(text, &[]))
}

/// The flags of a usable index.
const VALID: &str = "t,t,t";

/// A change of the shell.
enum Change {
    /// As the user.
    Definition(String),
    /// A definition with expressions of the owner of a table.
    Parsed { table: String, text: String },
    /// A mark that no statement sets.
    Catalog(String),
}

fn index_changes(index: &Index, here: &[Index]) -> Vec<Change> {
    let shell = here.iter().find(|other| other.is(index));
    let marks = index.marks.as_str();
    let mut changes = Vec::new();
    match shell {
        Some(shell) if shell.marks == marks => return changes,
        Some(_) => {}
        None if index.is_of_constraint => return changes,
        None => changes.push(Change::Parsed {
            table: qualified(&index.schema, &index.table),
            text: index.definition.clone(),
        }),
    }
    let [valid, ready, live] = [0, 1, 2].map(|at| marks.split(',').nth(at).unwrap_or("t"));
    if shell.is_some() || marks != VALID {
        changes.push(Change::Catalog(format!(
            "UPDATE pg_catalog.pg_index SET indisvalid = {}, indisready = {}, indislive = {}
              WHERE indexrelid = {}::pg_catalog.regclass",
            literal(valid),
            literal(ready),
            literal(live),
            literal(&index.qualified())
        )));
    }
    changes
}

fn detach_changes(pending: &Detached, here: &[Detached]) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let Detached { partition, parent, check, check_definition } = pending;
    let has_check = "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = $1::pg_catalog.regclass AND conname = $2::name)";
    let arguments = [partition.as_str().into(), check.as_str().into()];
    if !check.is_empty() && sql::read_one::<bool>(has_check, &arguments)? == Some(false) {
        let check = identifier(check);
        changes.push(Change::Parsed {
            table: partition.clone(),
            text: format!("ALTER TABLE ONLY {partition} ADD CONSTRAINT {check} {check_definition}"),
        });
    }
    if !here.iter().any(|other| other.partition == *partition && other.parent == *parent) {
        changes.push(Change::Catalog(format!(
            "UPDATE pg_catalog.pg_inherits SET inhdetachpending = true
              WHERE inhrelid = {}::pg_catalog.regclass AND inhparent = {}::pg_catalog.regclass",
            literal(partition),
            literal(parent)
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
