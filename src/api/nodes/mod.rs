//! Nodes: taken into the cluster, let go, looked at.

mod add;
mod adopt;
mod check;
mod definitions;
mod process;
mod roles;
mod sync;

use crate::ddl::{claim, reference};
use crate::directory::{self, Node, NodeId};
use crate::error::{Error, OrRaise, Result};
use crate::migration;
use crate::pg::node_health::{self, State};
use crate::pg::privileges;
use crate::rebalance;
use crate::remote::Session;
use crate::transaction;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use pgrx::prelude::*;
use std::rc::Rc;
use std::time::Instant;

/// Checks a server, brings it up to date and makes it a node; gives its number.
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
    let wanted = add::Wanted {
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
        add::add(wanted)
    };
    add().or_raise().0
}

/// Takes a node that holds no schema out of the cluster.
#[pg_extern(sql = false)]
fn helios_remove_node(name: &str) {
    remove(name).or_raise();
}

/// Makes this database the coordinator of all nodes in its directory; gives their number.
#[pg_extern(sql = false)]
fn helios_adopt_nodes() -> i32 {
    let adopt = || {
        let _path = transaction::SafePath::begin();
        adopt::adopt()
    };
    adopt().or_raise()
}

fn remove(name: &str) -> Result<()> {
    let _path = transaction::SafePath::begin();
    directory::lock_cluster();
    let node = directory::node_named(name)?;
    if node.is_local {
        return Err(Error::new(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("cannot remove node \"{name}\""),
        )
        .detail("It is this server itself.")
        .hint("DROP EXTENSION helios ends the cluster."));
    }
    directory::nodes()?.iter().try_for_each(|node| node.check_ours())?;
    let members: Vec<Rc<Node>> =
        directory::nodes()?.iter().filter(|other| other.id != node.id).cloned().collect();
    rebalance::house_empty_shards(&members)?;
    let schemas = directory::schemas_on(node.id)?;
    if !schemas.is_empty() {
        return Err(Error::new(
            Code::ERRCODE_OBJECT_IN_USE,
            format!("cannot remove node \"{name}\" because it holds distributed schemas"),
        )
        .detail(format!("Schemas: {}.", schemas.join(", ")))
        .hint("Drop them or move them to other nodes first."));
    }
    migration::refuse_node(node.id, format!("cannot remove node \"{name}\""))?;
    let migrations = migration::of_node(node.id)?;
    if let Some(id) = migrations.first() {
        return Err(Error::new(
            Code::ERRCODE_OBJECT_IN_USE,
            format!("cannot remove node \"{name}\" because migration {id} uses it"),
        )
        .detail("It still holds a copy of what moves.")
        .hint("Finish the migration with helios_finish_migration(), or cancel it with helios_cancel_migration()."));
    }
    finish_transactions(&node)?;
    reference::take_from(&node)?;
    claim::release(&node)?;
    directory::remove_node(node.id)
}

/// A node that still has to commit something cannot go.
fn finish_transactions(node: &Node) -> Result<()> {
    let recorded = directory::unfinished_transactions(node.id)?;
    if recorded.is_empty() {
        return Ok(());
    }
    let rows = connect(node)?.query("SELECT gid FROM pg_catalog.pg_prepared_xacts")?;
    let prepared: Vec<String> = rows.into_iter().flatten().flatten().collect();
    let (open, finished): (Vec<_>, Vec<_>) =
        recorded.into_iter().partition(|gid| prepared.contains(gid));
    if !open.is_empty() {
        let count = open.len();
        return Err(Error::new(
            Code::ERRCODE_OBJECT_IN_USE,
            format!(
                "cannot remove node \"{}\" because of {count} unfinished transactions",
                node.name
            ),
        )
        .detail(format!("Committed here and still prepared there: {}.", open.join(", ")))
        .hint("They are being finished; try again in a moment."));
    }
    directory::forget_transactions(node.id, &finished)
}

/// A session of its own to a node, as the client's role.
fn connect(node: &Node) -> Result<Session> {
    transaction::refuse_silent(node)?;
    let role = privileges::session_user();
    Session::connect(&Rc::new(transaction::target(node, &role)?), &role)
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

/// Asks a node for a sign of life.
#[pg_extern(sql = false)]
fn helios_probe_node(node: i32) -> Probe {
    let ask = || -> Result<(f64, Option<String>)> {
        let node = directory::node(NodeId(node))?;
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

type Seen = TableIterator<'static, (name!(state, &'static str), name!(seconds, f64))>;

/// What the database's worker knows of a node, and for how many seconds it has been so; no row if nothing.
#[pg_extern(sql = false)]
fn helios_node_health(node: i32) -> Seen {
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

/// Examines every node.
#[pg_extern(sql = false)]
fn helios_check_cluster() -> Findings {
    let findings = || -> Result<Vec<_>> {
        let _path = transaction::SafePath::begin();
        let mut rows = Vec::new();
        for node in directory::nodes()?.iter() {
            for finding in check::examine(node)? {
                let check::Finding { check, ok, detail, remedy } = finding;
                rows.push((node.name.clone(), check.to_owned(), ok, detail, remedy));
            }
        }
        Ok(rows)
    };
    TableIterator::new(findings().or_raise())
}
