//! The two sessions of a migration, one with each endpoint, and helpers to write SQL text for them and read their
//! results.

use crate::catalog::NodeId;
use crate::catalog::migration::{self, Migration};
use crate::error::{Error, Result};
use crate::remote::Session;
use crate::replication::endpoint::Endpoint;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Keeps further statements of a session, which contain passwords, out of the server's views and logs. Requires a
/// superuser.
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

/// Flushes everything committed on a server so far, including asynchronous commits: one synchronous commit flushes all
/// WAL before it.
pub fn flush(session: &mut Session) -> Result<()> {
    let commit = "SET synchronous_commit = on; SELECT pg_logical_emit_message(true, 'helios', '')";
    session.query(commit).map(|_| ())
}

/// Sessions to both endpoints of a migration.
pub struct Endpoints {
    pub source: Session,
    pub target: Session,
}

impl Endpoints {
    /// Connects to both; must be called in a transaction.
    ///
    /// 55000 if one of them is not the same server as when the move started.
    pub fn connect(migration: &Migration) -> Result<Self> {
        let source = Endpoint::of(migration.source).session()?;
        let mut endpoints = Self { source, target: Endpoint::of(migration.target).session()? };
        endpoints.check_histories(migration)?;
        Ok(endpoints)
    }

    /// A promoted standby has no slots, and may be behind what the other copy has applied.
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
        let name = Endpoint::of(node).name()?;
        let hint = match migration.state.is_before_switch() {
            true => "Start the move again.",
            false => {
                "Use helios_finish_migration() to end the migration and keep the schemas where they are."
            }
        };
        let message = format!("node \"{name}\" failed over to another server during the move");
        Err(Error::new(Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .detail("The replication slots were lost in the failover, so it is unknown how far the two copies agree.")
            .hint(hint))
    }

    /// Rolls back transactions that a failure has left open.
    pub fn roll_back(&mut self) -> Result<()> {
        for session in [&mut self.source, &mut self.target] {
            if !session.is_stale() {
                session.query("ROLLBACK")?;
            }
        }
        Ok(())
    }

    /// The session with this node, which is one of the two.
    pub fn to(&mut self, node: NodeId, migration: &Migration) -> &mut Session {
        if node == migration.source { &mut self.source } else { &mut self.target }
    }
}

/// Identifies a server's history; the value changes when another server becomes a node's primary.
fn history(session: &mut Session) -> Result<String> {
    let ask = "SELECT system_identifier || ' ' || left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()";
    Ok(session.query(ask)?.first().map(|row| text(row, 0)).unwrap_or_default())
}

/// Parses a column of a text row.
pub fn column<T: std::str::FromStr>(row: &[Option<String>], at: usize) -> Option<T> {
    row.get(at)?.as_deref()?.parse().ok()
}

/// A column of a text row; empty for NULL.
pub fn text(row: &[Option<String>], at: usize) -> String {
    row.get(at).and_then(Clone::clone).unwrap_or_default()
}

/// A boolean column.
pub fn flag(row: &[Option<String>], at: usize) -> bool {
    text(row, at) == "t"
}

/// Quotes a value as an SQL literal.
pub fn literal(text: &str) -> String {
    pgrx::spi::quote_literal(text)
}

/// Quotes an SQL identifier.
pub fn identifier(name: &str) -> String {
    pgrx::spi::quote_identifier(name)
}

/// Formats names as an SQL array.
pub fn names(names: &[String]) -> String {
    let all: Vec<_> = names.iter().map(|name| literal(name)).collect();
    format!("ARRAY[{}]::name[]", all.join(", "))
}
