//! Connection targets of Helios' own and of clients' sessions with a node.

use super::standby;
use crate::catalog::{self, Node};
use crate::error::{Error, Result};
use crate::remote::{SslMode, Target, Tcp};
use crate::settings;
use crate::shared::node_health;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::path::PathBuf;
use std::time::Duration;

/// A database owner can set its `search_path`, and Helios' own sessions have more privileges than he.
const SAFE_PATH: (&str, &str) = ("search_path", "pg_catalog, pg_temp");

/// The target of Helios' own session with a node, as a role. A client's session has the client's `search_path` instead.
pub fn target(node: &Node, role: &str) -> Result<Target> {
    standby::refuse()?;
    node.check_ours()?;
    let mut target = Target {
        id: Some(node.id.0),
        name: node.name.clone(),
        addresses: node.addresses.iter().map(|a| (a.host.clone(), a.port)).collect(),
        database: node.database.clone(),
        sslmode: SslMode::Prefer,
        sslrootcert: None,
        sslcert: None,
        sslkey: None,
        password: catalog::password(node.id, role)?,
        passfile: passfile(),
        proof: catalog::proof::of_session(node.id, role),
        connect_timeout: Duration::from_millis(
            u64::try_from(settings::CONNECT_TIMEOUT.get()).unwrap_or(5000),
        ),
        tcp: Tcp::from_settings(),
        parameters: vec![(SAFE_PATH.0, SAFE_PATH.1.to_owned())],
    };
    target.set_options(&node.options)?;
    Ok(target)
}

/// The password file for sessions with nodes: `helios.passfile`, or the operating system user's.
pub fn passfile() -> Option<PathBuf> {
    let set = settings::PASSFILE.get().map(|path| path.to_string_lossy().into_owned());
    match set.filter(|path| !path.is_empty()) {
        Some(path) => Some(PathBuf::from(path)),
        None => std::env::home_dir().map(|home| home.join(".pgpass")),
    }
}

/// Avoids waiting for the whole `helios.connect_timeout` for an unresponsive node.
///
/// 08001 if the latest health checks of the node got no response.
pub fn refuse_silent(node: &Node) -> Result<()> {
    let Some(health) = node_health::of(node.id.0) else { return Ok(()) };
    // Checking unresponsive nodes takes seconds itself.
    let fresh = 3.0 * f64::from(settings::HEALTH_INTERVAL.get()) / 1000.0 + 10.0;
    if health.state != node_health::State::Silent || node_health::age(health.checked) > fresh {
        return Ok(());
    }
    let seconds = node_health::age(health.since);
    Err(Error::new(
        PgSqlErrorCode::ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
        format!("node \"{}\" is offline", node.name),
    )
    .detail(format!("The node has not responded for {seconds:.0} seconds."))
    .hint("The connection is retried every helios.health_interval. The view helios_nodes shows the node's state."))
}
