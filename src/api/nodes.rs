//! Adding, removing and checking nodes.

use crate::catalog::{self, NodeId};
use crate::cluster::{self, connect};
use crate::error::Result;
use crate::pg::error::OrRaise;
use crate::shared::node_health::{self, State};
use crate::transaction;
use pgrx::prelude::*;
use std::time::Instant;

/// Checks and prepares a server and adds it as a node; returns its ID.
#[pg_extern(sql = false)]
fn helios_add_node(
    name: Option<&str>,
    host: Option<&str>,
    port: Option<i32>,
    database: Option<String>,
    weight: Option<f64>,
    takes_schemas: Option<bool>,
    options: Option<Array<'_, String>>,
) -> i32 {
    let options = super::elements(options, "options").or_raise();
    let request = cluster::join::NodeRequest {
        name: name.unwrap_or_default(),
        host: host.unwrap_or_default(),
        port: port.unwrap_or(5432),
        database,
        weight: weight.unwrap_or(1.0),
        takes_schemas: takes_schemas.unwrap_or(true),
        options,
    };
    let add = || {
        let _path = transaction::SafePath::begin();
        cluster::join::add(request)
    };
    add().or_raise().0
}

/// Removes a node without schemas from the cluster.
#[pg_extern(sql = false)]
fn helios_remove_node(name: &str) {
    cluster::remove::remove(name).or_raise();
}

/// Makes this database the coordinator of all nodes in its directory; returns their number.
#[pg_extern(sql = false)]
fn helios_adopt_nodes() -> i32 {
    let adopt = || {
        let _path = transaction::SafePath::begin();
        cluster::adopt::adopt()
    };
    adopt().or_raise()
}

type Probe = TableIterator<
    'static,
    (
        name!(reachable, bool),
        name!(latency_ms, Option<f64>),
        name!(version, Option<String>),
        name!(error, Option<String>),
    ),
>;

/// Tests the connection to a node.
#[pg_extern(sql = false)]
fn helios_probe_node(node: i32) -> Probe {
    let ask = || -> Result<(f64, Option<String>)> {
        let node = catalog::node(NodeId(node))?;
        if node.is_local {
            return Ok((0.0, crate::pg::session::setting("server_version")));
        }
        let mut session = connect(&node)?;
        let began = Instant::now();
        session.query("SELECT 1")?;
        let version = session.parameter("server_version").map(str::to_owned);
        Ok((began.elapsed().as_secs_f64() * 1000.0, version))
    };
    TableIterator::once(match ask() {
        Ok((latency, version)) => (true, Some(latency), version, None),
        Err(error) => (false, None, None, Some(error.to_string())),
    })
}

type Health = TableIterator<'static, (name!(state, &'static str), name!(seconds, f64))>;

/// A node's state according to the database's worker, and for how many seconds it has been in that state; no row if
/// unknown.
#[pg_extern(sql = false)]
fn helios_node_health(node: i32) -> Health {
    let word = |state| match state {
        State::Online => "online",
        State::Degraded => "degraded",
        State::Offline | State::Silent => "offline",
    };
    let health = node_health::of(node);
    TableIterator::new(health.map(|h| (word(h.state), node_health::age(h.since))))
}

type Findings = TableIterator<
    'static,
    (
        name!(node, String),
        name!(check, String),
        name!(ok, bool),
        name!(detail, Option<String>),
        name!(remedy, Option<String>),
    ),
>;

/// Checks every node.
#[pg_extern(sql = false)]
fn helios_check_cluster() -> Findings {
    let findings = || -> Result<Vec<_>> {
        let _path = transaction::SafePath::begin();
        let mut rows = Vec::new();
        for node in catalog::nodes()?.iter() {
            for finding in cluster::check::examine(node)? {
                let cluster::finding::Finding { check, ok, detail, remedy } = finding;
                rows.push((node.name.clone(), check.to_owned(), ok, detail, remedy));
            }
        }
        Ok(rows)
    };
    TableIterator::new(findings().or_raise())
}
