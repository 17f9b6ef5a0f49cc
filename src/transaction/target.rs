//! Where sessions of Helios' own and of clients connect to: what a session needs to know of a node.

use super::standby;
use crate::catalog::{self, Node};
use crate::error::{Error, Result};
use crate::remote::{SslMode, Target, Tcp};
use crate::settings;
use crate::shared::node_health;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::path::PathBuf;
use std::time::Duration;

/// Whoever owns a database can set its `search_path`, and the sessions of Helios' own have more rights than he.
const SAFE_PATH: (&str, &str) = ("search_path", "pg_catalog, pg_temp");

/// What a session of Helios' own needs to know of a node, for a role. A client's has the client's `search_path` instead.
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

/// The file of passwords for sessions to nodes: that of `helios.passfile`, or the operating system user's.
pub fn passfile() -> Option<PathBuf> {
    let set = settings::PASSFILE.get().map(|path| path.to_string_lossy().into_owned());
    match set.filter(|path| !path.is_empty()) {
        Some(path) => Some(PathBuf::from(path)),
        None => std::env::home_dir().map(|home| home.join(".pgpass")),
    }
}

/// A node that gives no sign would keep everybody waiting for the whole `helios.connect_timeout`.
///
/// 08001 if the last looks at the node, not long ago, got no answer.
pub fn refuse_silent(node: &Node) -> Result<()> {
    let Some(health) = node_health::of(node.id.0) else { return Ok(()) };
    // A look at silent nodes takes seconds itself.
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
