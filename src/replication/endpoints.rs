//! Sessions to the two nodes of a migration.

use crate::catalog::migration::{self, Migration};
use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::migration::import;
use crate::pg::catalog::privileges;
use crate::remote::{Session, Target};
use crate::replication::pull::Address;
use crate::transaction;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::rc::Rc;

/// Settings of a migration's sessions. It works for hours: a node's timeout for its clients is not meant for it.
pub const SETTINGS: [(&str, &str); 6] = [
    ("lock_timeout", "0"),
    ("search_path", "pg_catalog"),
    ("DateStyle", "ISO"),
    ("extra_float_digits", "3"),
    ("helios.migration_session", "on"),
    // A vacuum that the server itself began gives way after this time.
    ("deadlock_timeout", "50"),
];

/// Those that need no superuser, which the role on a foreign server may not be.
pub fn for_everybody() -> Vec<(&'static str, String)> {
    settings(|name| name != "deadlock_timeout")
}

fn settings(wanted: impl Fn(&str) -> bool) -> Vec<(&'static str, String)> {
    let all = SETTINGS.into_iter().filter(|(name, _)| wanted(name));
    all.map(|(name, value)| (name, value.to_owned())).collect()
}

/// The role that migrations work as on every node: the owner of the catalogs.
pub fn role() -> Result<String> {
    Ok(privileges::role_name(catalog::catalogs_owner()?))
}

/// The role that migrations work as on this server.
fn role_on(node: NodeId) -> Result<String> {
    if node.is_outside() { Ok(import::load(node)?.role) } else { role() }
}

/// A server's name, for messages.
pub fn name(node: NodeId) -> Result<String> {
    if node.is_outside() {
        return Ok(import::load(node)?.name());
    }
    Ok(catalog::node(node)?.name.clone())
}

/// Where a server is, for sessions of migrations.
pub fn target(node: NodeId) -> Result<Target> {
    let mut target = if node.is_outside() {
        import::load(node)?.target()?
    } else {
        let node = catalog::node(node)?;
        transaction::refuse_silent(&node)?;
        transaction::target(&node, &role()?)?
    };
    target.parameters = settings(|_| true);
    if node.is_outside() {
        target.parameters = for_everybody();
        target.parameters.push((import::TOKEN, catalog::proof::of_import(node)?));
    }
    Ok(target)
}

/// How programs that use libpq reach a server: its words and values.
pub fn words(node: NodeId) -> Result<Vec<(&'static str, String)>> {
    let mut words = target(node)?.libpq(&role_on(node)?);
    if node.is_outside()
        && let Some(passfile) = import::load(node)?.passfile()
    {
        words.push(("passfile", passfile.to_owned()));
    }
    Ok(words)
}

/// How one server reaches another, as libpq wants it. Files of certificates are looked for on the server that connects.
pub fn conninfo(node: NodeId) -> Result<String> {
    let quoted = |value: &str| value.replace('\\', "\\\\").replace('\'', "\\'");
    let words = words(node)?;
    let parts: Vec<String> =
        words.iter().map(|(word, value)| format!("{word}='{}'", quoted(value))).collect();
    Ok(parts.join(" "))
}

/// How `helios.pull_rows` reaches a server.
pub fn address(node: NodeId) -> Result<Address> {
    let passfile = match node.is_outside() {
        true => import::load(node)?.passfile().map(str::to_owned),
        false => None,
    };
    Ok(Address::of(&target(node)?, &role_on(node)?, passfile))
}

/// What a session runs from now on holds passwords: the server neither shows nor logs it. For superusers.
pub fn keep_secret(session: &mut Session) -> Result<()> {
    const SILENT: [(&str, &str); 8] = [
        ("track_activities", "off"),
        ("log_statement", "none"),
        ("log_duration", "off"),
        ("log_min_duration_statement", "-1"),
        ("log_min_duration_sample", "-1"),
        ("log_min_error_statement", "panic"),
        ("auto_explain.log_min_duration", "-1"),
        ("pg_stat_statements.track", "none"),
    ];
    let all: Vec<_> =
        SILENT.iter().map(|(name, value)| format!("SET {name} = '{value}'")).collect();
    session.query(&all.join("; ")).map(|_| ())
}

/// A session to a server; must be called in a transaction.
pub fn session(node: NodeId) -> Result<Session> {
    let connected = Session::connect(&Rc::new(target(node)?), &role_on(node)?);
    match node.is_outside() {
        true => connected.map_err(import::unreachable),
        false => connected,
    }
}

/// Brings everything to disk that was committed on a server so far, also by those who did not wait for that: one commit
/// that waits takes all before it along.
pub fn flush(session: &mut Session) -> Result<()> {
    let commit = "SET synchronous_commit = on; SELECT pg_logical_emit_message(true, 'helios', '')";
    session.query(commit).map(|_| ())
}

/// A session that speaks the replication protocol.
pub fn replication_session(node: NodeId) -> Result<Session> {
    let mut target = target(node)?;
    target.parameters.push(("replication", "database".into()));
    Session::connect(&Rc::new(target), &role_on(node)?)
}

/// The two nodes.
pub struct Ends {
    pub source: Session,
    pub target: Session,
}

impl Ends {
    /// Connects to both; must be called in a transaction.
    ///
    /// 55000 if one of them is not the server any more that it was when the move began.
    pub fn connect(migration: &Migration) -> Result<Self> {
        let source = session(migration.source)?;
        let mut ends = Self { source, target: session(migration.target)? };
        ends.check_histories(migration)?;
        Ok(ends)
    }

    /// A standby that took over has no slots, and may be behind what the other copy has applied.
    fn check_histories(&mut self, migration: &Migration) -> Result<()> {
        let now = [history(&mut self.source)?, history(&mut self.target)?];
        let Some(before) = &migration.histories else {
            return migration::histories(migration.id, &now);
        };
        let nodes = [migration.source, migration.target];
        let Some((node, _)) =
            nodes.into_iter().zip(before.iter().zip(&now)).find(|(_, (was, is))| was != is)
        else {
            return Ok(());
        };
        let name = name(node)?;
        let hint = match migration.state.is_before_switch() {
            true => "Begin the move again.",
            false => {
                "helios_finish_migration() ends the migration; the schemas stay where they are."
            }
        };
        let message = format!("another server has taken over node \"{name}\" since the move began");
        Err(Error::new(Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .detail("What the two copies have in common is not known any more: replication slots do not come along.")
            .hint(hint))
    }

    /// Ends what a failure has left open on them.
    pub fn roll_back(&mut self) -> Result<()> {
        for session in [&mut self.source, &mut self.target] {
            if !session.is_stale() {
                session.query("ROLLBACK")?;
            }
        }
        Ok(())
    }

    /// The session to this node, which is one of the two.
    pub fn to(&mut self, node: NodeId, migration: &Migration) -> &mut Session {
        if node == migration.source { &mut self.source } else { &mut self.target }
    }
}

/// What changes when another server becomes a node's primary.
fn history(session: &mut Session) -> Result<String> {
    let ask = "SELECT system_identifier || ' ' || left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()";
    Ok(session.query(ask)?.first().map(|row| text(row, 0)).unwrap_or_default())
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
