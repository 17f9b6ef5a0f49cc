//! Requests that the coordinator makes in a client's session with a node, and that the client itself could not make: to
//! work as another role.
//!
//! Invariant: nobody but the coordinator can make one. The node issues a nonce that is valid for one request before the
//! end of the transaction or savepoint, and accepts a request signed together with it by the coordinator's key for this
//! node. Code that runs in the session cannot sign, and an observed signature is useless a second time, elsewhere, or
//! for anything else.

use crate::catalog::{self, NodeId, proof};
use crate::error::{Error, Result};
use crate::pg::catalog::privileges;
use crate::pg::exec::nesting;
use crate::pg::session::{acting, xact};
use crate::transaction::{self, Mode};
use helios_core::node_interface::RUN_ON_REQUEST;
use helios_core::quote;
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode as Code};
use ring::rand::{SecureRandom, SystemRandom};
use std::cell::RefCell;
use std::fmt::Write;

thread_local! {
    /// The last nonce issued, and the nesting level of the transaction at that time.
    static GIVEN: RefCell<Option<(u32, String)>> = const { RefCell::new(None) };
}

/// Invalidates a nonce issued at this nesting level or deeper, which is rolled back; 0 at the end of a transaction.
pub fn forget(level: u32) {
    GIVEN.with_borrow_mut(|given| {
        if given.as_ref().is_some_and(|(at, _)| *at >= level) {
            *given = None;
        }
    });
}

/// On a node: issues a nonce for one request of the coordinator.
pub fn give_number() -> Result<String> {
    let mut bytes = [0; 16];
    let failed = |_| Error::new(Code::ERRCODE_INTERNAL_ERROR, "could not generate random values");
    SystemRandom::new().fill(&mut bytes).map_err(failed)?;
    let mut number = String::new();
    for byte in bytes {
        let _ = write!(number, "{byte:02x}");
    }
    GIVEN.set(Some((xact::nest_level(), number.clone())));
    Ok(number)
}

/// Asks a node for a nonce.
pub(super) fn number(node: NodeId) -> Result<String> {
    let number = transaction::query(node, b"SELECT helios.change_number()", Mode::Transaction)?;
    Ok(number.into_iter().flatten().flatten().next().unwrap_or_default())
}

/// On a node: whether the coordinator has signed the parts that `parts` makes of the nonce, which is thereby used up.
pub(super) fn is_signed(signature: &str, parts: impl Fn(&str) -> Vec<Vec<u8>>) -> bool {
    let Some((_, number)) = GIVEN.take() else { return false };
    let parts = parts(&number);
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    !nesting::is_nested() && proof::is_coordinators() && proof::is_signed(&parts, signature)
}

fn run_as_parts<'a>(number: &'a str, role: &'a str) -> [&'a [u8]; 3] {
    [b"run as", number.as_bytes(), role.as_bytes()]
}

/// Lets the client's session with a node work as `role` until the current savepoint there is released or rolled back;
/// without a role, as the owner of Helios' catalogs.
///
/// Errors: 55000 if the node's version of Helios cannot do that, and the client is not a superuser.
pub fn run_as(node: NodeId, role: Option<&str>) -> Result<()> {
    if !transaction::has_function(node, &RUN_ON_REQUEST)? {
        return run_as_superuser(node, role);
    }
    let role = role.unwrap_or_default();
    let number = number(node)?;
    let signature = proof::sign(node, &run_as_parts(&number, role))?;
    let arguments = [role, &signature].map(quote::literal).join(", ");
    let call = format!("SELECT helios.run_on_request({arguments})");
    transaction::execute(node, call.as_bytes(), Mode::Transaction, true).map(drop)
}

/// [`run_as`] on a node that does not know such requests: a superuser's session needs none.
fn run_as_superuser(node: NodeId, role: Option<&str>) -> Result<()> {
    if !privileges::is_superuser() {
        return transaction::require_function(node, &RUN_ON_REQUEST);
    }
    let Some(role) = role else { return Ok(()) };
    let call = format!("SELECT helios.run_as({})", quote::literal(role));
    transaction::execute(node, call.as_bytes(), Mode::Transaction, true).map(drop)
}

/// On a node: the request of [`run_as`].
///
/// Errors: 42501 if it does not come from the coordinator.
pub fn accept_run_as(role: &str, signature: &str) -> Result<()> {
    if !is_signed(signature, |number| run_as_parts(number, role).map(<[u8]>::to_vec).to_vec()) {
        let message = "permission denied to run as another role at the coordinator's request";
        return Err(Error::new(Code::ERRCODE_INSUFFICIENT_PRIVILEGE, message)
            .detail("Only the coordinator of this node may do that.")
            .hint("Use SET ROLE."));
    }
    let role: Oid = match role {
        "" => catalog::catalogs_owner()?,
        role => acting::role_named(role)?,
    };
    acting::begin_on_request(role)
}
