//! OIDs of user-defined types on a node.
//!
//! A parameter of such a type must be sent with the node's OID: with an inferred type, the node could choose another
//! overload of a function or operator than this server.

use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::pg::catalog::{privileges, types};
use crate::pg::exec::params::Params;
use crate::transaction::{self, Mode};
use helios_core::quote;
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode};
use std::cell::RefCell;
use std::collections::HashMap;

/// What cached OIDs depend on: local types, placements, and the sessions through which they were read.
type Grounds = (u64, (u64, u64), u64);

#[derive(Default)]
struct Known {
    grounds: Grounds,
    oids: HashMap<(i32, u32), u32>,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

/// Replaces the OIDs of parameters of user-defined types by the node's.
///
/// A node checks the constraints of domains when it reads a value, with the privileges of the current user. Where a client gives
/// the value, this server has done that before. A value that a function has read elsewhere was checked when it was stored, and
/// to use it in a statement within another (`enclosed`) must not run code of another role: a domain is sent as the type that it
/// is based on.
///
/// Errors: 0A000 for such a value of another type that contains domains of other roles.
pub fn translate(params: &mut Params, enclosed: bool, node: NodeId, mode: Mode) -> Result<()> {
    for (index, mut of_type) in params.user_types() {
        if enclosed && privileges::has_foreign_domain(of_type) {
            of_type = without_domain(of_type, params.is_null(index))?;
        }
        let oid = match types::is_built_in(of_type) {
            true => of_type.to_u32(),
            false => on_node(of_type, node, mode)?,
        };
        params.set_type(index, oid);
    }
    Ok(())
}

/// The type with which the value of a domain is sent if the domain's constraints must not run.
fn without_domain(of_type: Oid, is_null: bool) -> Result<Oid> {
    let base = types::base_of(of_type);
    // No constraint of a part is checked where there are no parts.
    if is_null || !privileges::has_foreign_domain(base) {
        return Ok(base);
    }
    let name = types::qualified_name(of_type);
    let message = format!(
        "cannot use a value of type {name} in a statement on a node within another statement"
    );
    Err(Error::new(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, message)
        .detail("The node would run constraints of another role's domains with the privileges of the current user.")
        .hint("Select what the statement needs of it into variables of types without domains."))
}

fn on_node(of_type: Oid, node: NodeId, mode: Mode) -> Result<u32> {
    let key = (node.0, of_type.to_u32());
    let grounds = grounds();
    let known = KNOWN.with_borrow_mut(|known| {
        if known.grounds != grounds {
            *known = Known { grounds, oids: HashMap::new() };
        }
        known.oids.get(&key).copied()
    });
    if let Some(oid) = known {
        return Ok(oid);
    }
    let name = types::qualified_name(of_type);
    let sql = format!("SELECT {}::pg_catalog.regtype::pg_catalog.oid", quote::literal(&name));
    let rows = transaction::query(node, sql.as_bytes(), mode)?;
    let oid = rows.first().and_then(|r| r.first().cloned().flatten()).and_then(|o| o.parse().ok());
    let oid = oid.ok_or_else(|| {
        Error::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            format!("type \"{name}\" does not exist on its node"),
        )
    })?;
    KNOWN.with_borrow_mut(|known| {
        // A schema that moved away and back in the meantime has types with other OIDs than those read.
        if known.grounds == crate::executor::remote_types::grounds() {
            known.oids.insert(key, oid);
        }
    });
    Ok(oid)
}

/// A schema that moves away and back has types of the same names with other OIDs, although its types here have not
/// changed.
fn grounds() -> Grounds {
    (types::changes(), catalog::generation(), transaction::sessions_made())
}
