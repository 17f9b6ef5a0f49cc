//! The nodes of the cluster: how a server joins and leaves, how it is checked, and how its roles and definitions are
//! kept the same as the coordinator's. Read [`join`] first.
//!
//! Invariants: the coordinator is authoritative. A node is only changed to match the coordinator, and nothing is
//! dropped on a node unless requested. A server belongs to at most one cluster ([`ownership`]).
//!
//! Lock order: the cluster's lock, then shards, then locks on the node.

pub mod adopt;
pub mod check;
pub mod definitions;
pub mod finding;
pub mod join;
pub mod ownership;
pub mod remove;
pub mod repair;
pub mod role_check;
pub mod roles;
pub mod sync;

use crate::catalog::Node;
use crate::error::Result;
use crate::pg::catalog::privileges;
use crate::remote::Session;
use crate::transaction;
use std::rc::Rc;

/// Opens a separate session with a node as the client's role.
pub fn connect(node: &Node) -> Result<Session> {
    transaction::refuse_silent(node)?;
    let role = privileges::session_user();
    Session::connect(&Rc::new(transaction::target(node, &role)?), &role)
}
