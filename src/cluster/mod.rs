//! The nodes of the cluster: how a server joins and leaves, what is checked on it, and how its roles and definitions are
//! kept the same as here. Read [`join`] first.
//!
//! Invariant: this server says what is right. A node is changed only towards what this server has, and nothing is dropped on
//! a node without being asked for; a server belongs to one cluster at most ([`ownership`]).
//!
//! Lock order: the cluster's lock, then shards, then locks on the node.

pub mod adopt;
pub mod check;
pub mod definitions;
pub mod finding;
pub mod join;
pub mod ownership;
pub mod process;
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

/// A session of its own to a node, as the client's role.
pub fn connect(node: &Node) -> Result<Session> {
    transaction::refuse_silent(node)?;
    let role = privileges::session_user();
    Session::connect(&Rc::new(transaction::target(node, &role)?), &role)
}
