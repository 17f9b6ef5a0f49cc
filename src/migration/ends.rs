//! Sessions to the two nodes of a migration.

use super::record::Migration;
use crate::directory::{self, NodeId};
use crate::error::Result;
use crate::pg::privileges;
use crate::remote::{Session, Target};
use crate::transaction;
use std::rc::Rc;

/// A migration works for hours; none of the timeouts that a node has for its clients are meant for it.
pub const SETTINGS: [(&str, &str); 9] = [
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("search_path", "pg_catalog"),
    ("DateStyle", "ISO"),
    ("extra_float_digits", "3"),
    ("helios.migration_session", "on"),
    ("idle_session_timeout", "0"),
    // A vacuum that the server itself began gives way after this time.
    ("deadlock_timeout", "50"),
];

/// The role that migrations work as on every node: the owner of the catalogs.
pub fn role() -> Result<String> {
    Ok(privileges::role_name(directory::catalogs_owner()?))
}

/// Where a node is, for sessions of migrations.
pub fn target(node: NodeId) -> Result<Target> {
    let node = directory::node(node)?;
    transaction::refuse_silent(&node)?;
    let mut target = transaction::target(&node, &role()?)?;
    target.parameters = SETTINGS.to_vec();
    Ok(target)
}

/// A session to a node; must be called in a transaction.
pub fn session(node: NodeId) -> Result<Session> {
    Session::connect(&Rc::new(target(node)?), &role()?)
}

/// A session that speaks the replication protocol.
pub fn replication_session(node: NodeId) -> Result<Session> {
    let mut target = target(node)?;
    target.parameters.push(("replication", "database"));
    Session::connect(&Rc::new(target), &role()?)
}

/// The two nodes.
pub struct Ends {
    pub source: Session,
    pub target: Session,
}

impl Ends {
    /// Connects to both; must be called in a transaction.
    pub fn connect(migration: &Migration) -> Result<Self> {
        let source = session(migration.source)?;
        Ok(Self { source, target: session(migration.target)? })
    }

    /// The session to this node, which is one of the two.
    pub fn to(&mut self, node: NodeId, migration: &Migration) -> &mut Session {
        if node == migration.source { &mut self.source } else { &mut self.target }
    }
}

/// A parsed column of a row of text.
pub fn column<T: std::str::FromStr>(row: &[Option<String>], at: usize) -> Option<T> {
    row.get(at)?.as_deref()?.parse().ok()
}

/// A column of a row of text; empty for NULL.
pub fn text(row: &[Option<String>], at: usize) -> String {
    row.get(at).and_then(Clone::clone).unwrap_or_default()
}

/// A boolean column.
pub fn flag(row: &[Option<String>], at: usize) -> bool {
    text(row, at) == "t"
}

/// A value as SQL needs it.
pub fn literal(text: &str) -> String {
    pgrx::spi::quote_literal(text)
}

/// A name as SQL needs it.
pub fn identifier(name: &str) -> String {
    pgrx::spi::quote_identifier(name)
}

/// Names as an SQL array.
pub fn names(names: &[String]) -> String {
    let all: Vec<_> = names.iter().map(|name| literal(name)).collect();
    format!("ARRAY[{}]::name[]", all.join(", "))
}
