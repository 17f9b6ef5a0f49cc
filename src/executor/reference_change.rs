//! The role that changes the copy of a reference table on a node: the role that changed the table here, with the
//! privileges it had here.
//!
//! The client's session on the node may have fewer: referential actions run as the owner of the referencing table,
//! functions as theirs, a view uses the privileges of its owner, and a column privilege does not cover columns changed
//! by a trigger. A session of the other role would not be part of this transaction. So if the client could not make the
//! change himself, or another role made it, the node makes it as that role at the coordinator's request.
//!
//! Invariant: nobody but the coordinator can make the request; see [`super::coordinator_request`].

use super::coordinator_request;
use super::reference_text::Table;
use crate::catalog::{NodeId, proof};
use crate::error::{Error, Result};
use crate::pg::catalog::privileges::{self, RunAs};
use crate::pg::exec::copy_change::{Accepted, Request};
use crate::pg::exec::row_trigger::Operation;
use crate::pg::session::{acting, sql};
use crate::transaction::{self, Mode};
use helios_core::quote;
use pgrx::pg_sys::{self, Oid, errcodes::PgSqlErrorCode as Code};
use std::ffi::CString;
use std::fmt::Write;

/// The role that makes changes on the nodes.
pub(super) enum Writer {
    /// The session's user, directly.
    Session,
    /// This role, at the coordinator's request.
    Role(String),
}

impl Writer {
    /// Determines the writer for changes that `role` made with these operations.
    pub fn of(relation: Oid, role: Oid, operations: Vec<Operation>) -> Self {
        let mut wanted = Vec::new();
        for operation in operations {
            // Rows are found by their keys, which requires SELECT privilege on these.
            wanted.extend_from_slice(match operation {
                Operation::Insert => &[pg_sys::ACL_INSERT],
                Operation::Update => &[pg_sys::ACL_UPDATE, pg_sys::ACL_SELECT],
                Operation::Delete => &[pg_sys::ACL_DELETE, pg_sys::ACL_SELECT],
                Operation::Truncate => &[pg_sys::ACL_TRUNCATE],
            });
        }
        if role == privileges::outer_user() && privileges::may_do(role, relation, &wanted) {
            Self::Session
        } else {
            Self::Role(privileges::role_name(role))
        }
    }

    /// Runs the statements on a node in the session that the client's own statements use there; returns the number of
    /// rows changed.
    pub fn change(
        &self,
        node: NodeId,
        table: &Table,
        statements: &[Vec<u8>],
        rows: u64,
    ) -> Result<u64> {
        let _session = RunAs::session();
        match self {
            Self::Session => transaction::execute_all(node, statements),
            Self::Role(role) => ask(node, role, table, statements, rows),
        }
    }
}

fn ask(node: NodeId, role: &str, table: &Table, statements: &[Vec<u8>], rows: u64) -> Result<u64> {
    let number = coordinator_request::number(node)?;
    let (schema, name) = &table.names;
    let statements = statements.join(&0);
    let signature = proof::sign(node, &signed(&number, role, schema, name, &statements))?;
    let mut bytes = String::with_capacity(2 * statements.len() + 2);
    bytes.push_str("\\x");
    for byte in &statements {
        let _ = write!(bytes, "{byte:02x}");
    }
    let arguments = [role, schema, name, &bytes, &signature].map(quote::literal).join(", ");
    let call = format!("SELECT helios.change_copy({arguments})");
    let answer = transaction::query_that_writes(node, call.as_bytes(), Mode::Transaction)?;
    let done = answer.into_iter().flatten().flatten().next().and_then(|done| done.parse().ok());
    Ok(done.unwrap_or(rows.wrapping_add(1)))
}

fn signed<'a>(
    number: &'a str,
    role: &'a str,
    schema: &'a str,
    table: &'a str,
    statements: &'a [u8],
) -> [&'a [u8]; 6] {
    let [number, role, schema, table] = [number, role, schema, table].map(str::as_bytes);
    [b"change", number, role, schema, table, statements]
}

/// On a node: verifies that a request comes from the coordinator, and returns what is to be done.
///
/// Errors: 42501 if it does not.
pub fn accept(request: &Request) -> Result<Accepted> {
    let Request { role, schema, table, statements, signature } = request;
    let is_ours = coordinator_request::is_signed(signature, |number| {
        signed(number, role, schema, table, statements).map(<[u8]>::to_vec).to_vec()
    });
    if !is_ours {
        let message = "permission denied to change the copy of a reference table as another role";
        return Err(Error::new(Code::ERRCODE_INSUFFICIENT_PRIVILEGE, message)
            .detail("Only the coordinator of this node may do that.")
            .hint("Change the reference table on the coordinator."));
    }
    let select = "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n
                      ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
                   WHERE n.nspname OPERATOR(pg_catalog.=) $1 AND c.relname OPERATOR(pg_catalog.=) $2";
    let relation = sql::read_one::<Oid>(select, &[schema.as_str().into(), table.as_str().into()])?;
    let relation = relation.ok_or_else(|| {
        let message = format!("relation \"{schema}.{table}\" does not exist");
        Error::new(Code::ERRCODE_UNDEFINED_TABLE, message)
    })?;
    let texts = statements.split(|&byte| byte == 0).map(CString::new);
    let texts = texts.collect::<std::result::Result<Vec<_>, _>>().unwrap_or_default();
    Ok((acting::role_named(role)?, relation, texts))
}
