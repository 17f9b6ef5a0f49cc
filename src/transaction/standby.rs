//! Ensures that only one server acts as the coordinator: its standbys send nothing to nodes, and neither does a former
//! primary after another server was promoted.
//!
//! Each node remembers the coordinator's system identifier and the latest timeline from which it was used. This is
//! registered in a session of the catalogs' owner, which no client can use, before anything else is sent to the node
//! after the coordinator's start.

use crate::catalog::coordinator::Coordinator;
use crate::catalog::{self, Node};
use crate::error::{Error, Result};
use crate::pg::session::server_state;
use crate::remote::Session;
use crate::shared::node_health;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// 25006 on a server in recovery, with the address of its primary.
#[inline]
pub fn refuse() -> Result<()> {
    if server_state::in_recovery() { Err(in_recovery()) } else { Ok(()) }
}

#[cold]
fn in_recovery() -> Error {
    let hint = match address(&server_state::primary_conninfo()) {
        Some(address) => format!("Connect to the coordinator at {address}."),
        None => "Connect to the coordinator.".to_owned(),
    };
    Error::new(
        Code::ERRCODE_READ_ONLY_SQL_TRANSACTION,
        "cannot use distributed schemas during recovery",
    )
    .detail("This server is a standby of the coordinator, and its directory may be out of date.")
    .hint(hint)
}

/// Host and port of a libpq connection string; nothing else, because it may contain a password.
fn address(conninfo: &str) -> Option<String> {
    if let Some((_, rest)) = conninfo.split_once("://") {
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let place = authority.rsplit('@').next().unwrap_or_default();
        return (!place.is_empty()).then(|| place.to_owned());
    }
    let host = keyword(conninfo, "host").or_else(|| keyword(conninfo, "hostaddr"))?;
    let port = keyword(conninfo, "port").unwrap_or_else(|| "5432".to_owned());
    Some(format!("{host}:{port}"))
}

/// The value of a keyword in `keyword = value` pairs; values may be quoted, with backslash escapes.
fn keyword(conninfo: &str, wanted: &str) -> Option<String> {
    let mut rest = conninfo.trim_start();
    while let Some((name, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let quoted = after.strip_prefix('\'');
        let (mut value, mut end, mut escaped) = (String::new(), after.len(), false);
        let text = quoted.unwrap_or(after);
        let skipped = after.len() - text.len();
        for (at, c) in text.char_indices() {
            let ends = if quoted.is_some() { c == '\'' } else { c.is_whitespace() };
            if ends && !escaped {
                end = skipped + at + c.len_utf8();
                break;
            }
            escaped = c == '\\' && !escaped;
            if !escaped {
                value.push(c);
            }
        }
        if name.trim() == wanted {
            return Some(value);
        }
        rest = after.get(end..).unwrap_or_default().trim_start();
    }
    None
}

const REFUSED: Code = Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;

/// Registers this server as the coordinator on a node, in a session of the catalogs' owner, unless it is registered
/// already.
///
/// 55000 if a later coordinator is registered.
pub fn claim(node: &Node, session: &mut Session) -> Result<()> {
    let cluster = catalog::cluster_id()?;
    let here = Coordinator {
        system_identifier: server_state::system_identifier(),
        timeline: server_state::timeline(),
    };
    let select = Coordinator::known(cluster);
    // A node that cannot tell (an older version, or read-only) is used nevertheless.
    let asked = session.query(&select);
    if session.is_lost() {
        return asked.map(|_| ());
    }
    let Ok(known) = asked else { return Ok(()) };
    let known = Coordinator::known_in(&known);
    if is_older(known, here) {
        let told = session.query(&here.note(cluster));
        if told.is_err() {
            return if session.is_lost() { told.map(|_| ()) } else { Ok(()) };
        }
        return judge(node, Coordinator::known_in(&session.query(&select)?), here);
    }
    judge(node, known, here)
}

/// Whether the node has an older state of this coordinator registered, or none at all.
fn is_older(known: Option<Coordinator>, here: Coordinator) -> bool {
    known.is_none_or(|known| is_same_system(known, here) && known.timeline < here.timeline)
}

fn is_same_system(known: Coordinator, here: Coordinator) -> bool {
    known.system_identifier == here.system_identifier
}

fn judge(node: &Node, known: Option<Coordinator>, here: Coordinator) -> Result<()> {
    let is_ours = known == Some(here);
    node_health::set_claimed(node.id.0, is_ours);
    match known {
        Some(known) if !is_ours => Err(refusal(node, known, here)),
        _ => Ok(()),
    }
}

fn refusal(node: &Node, known: Coordinator, here: Coordinator) -> Error {
    let message = format!("node \"{}\" is in use by another coordinator", node.name);
    let error = Error::new(REFUSED, message);
    if is_same_system(known, here) {
        return error
            .detail(format!(
                "It is used by a server that was promoted to timeline {}; this server is on timeline {}.",
                known.timeline, here.timeline
            ))
            .hint("Make this server a standby of the promoted server (with pg_rewind or a new base backup), or stop \
                it.");
    }
    error
        .detail("It is used for the same cluster by a server with another system identifier.")
        .hint("If that server no longer exists, run SELECT helios_adopt_nodes() here.")
}

/// Whether an error is that of a node with a later coordinator.
pub fn is_refused(error: &Error) -> bool {
    error.is(REFUSED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_read_and_nothing_else() {
        for (conninfo, expected) in [
            ("host=10.0.0.1 port=5433 user=repl password=secret", Some("10.0.0.1:5433")),
            ("user=postgres passfile='/a b/.pgpass' host=h sslmode=prefer", Some("h:5432")),
            (r"password='it\'s host=x' host = 'my host' port=1", Some("my host:1")),
            ("hostaddr=::1 port=2", Some("::1:2")),
            ("postgresql://repl:secret@h:5433/db?sslmode=require", Some("h:5433")),
            ("user=postgres", None),
            ("", None),
            ("host", None),
        ] {
            assert_eq!(address(conninfo).as_deref(), expected, "{conninfo}");
        }
    }
}
