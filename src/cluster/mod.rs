//! The nodes of the cluster: joining, checks, ownership, roles, and repair of what differs.

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
