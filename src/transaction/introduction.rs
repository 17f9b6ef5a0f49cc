//! Registers this server as the coordinator on a node before the node is used.

use super::standby;
use super::target::{refuse_silent, target};
use crate::catalog::{self, Node};
use crate::error::Result;
use crate::pg::catalog::privileges;
use crate::remote::Session;
use crate::settings::CONNECT_TIMEOUT;
use crate::shared::node_health;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Opens a maintenance session with a node, with this time limit.
pub fn connect(node: &Node, limit: Duration) -> Result<Session> {
    refuse_silent(node)?;
    let role = privileges::role_name(catalog::catalogs_owner()?);
    let mut target = target(node, &role)?;
    target.connect_timeout = target.connect_timeout.min(limit);
    let mut session = Session::connect(&Rc::new(target), &role)?;
    session.set_time_limit(Some(Instant::now() + limit));
    standby::claim(node, &mut session)?;
    Ok(session)
}

/// Registers this server as the node's coordinator before the node's first use since the server was started.
///
/// 55000 if the node has been used by a server that was promoted after this one.
pub fn introduce(node: &Node) -> Result<()> {
    if node_health::is_claimed(node.id.0) {
        return Ok(());
    }
    let limit = Duration::from_millis(u64::try_from(CONNECT_TIMEOUT.get()).unwrap_or(5000));
    let began = Instant::now();
    match connect(node, limit) {
        Err(error) if standby::is_refused(&error) || began.elapsed() >= limit => Err(error),
        // The caller continues with its own role, which may be able to connect.
        _ => Ok(()),
    }
}
