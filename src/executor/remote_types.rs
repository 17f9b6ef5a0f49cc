//! OIDs of user-defined types on a node.
//!
//! A parameter of such a type must be sent with the node's OID: with an inferred type, the node could choose another
//! overload of a function or operator than this server.

use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::pg::catalog::types;
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
pub fn translate(params: &mut Params, node: NodeId, mode: Mode) -> Result<()> {
    for (index, of_type) in params.user_types() {
        let oid = on_node(of_type, node, mode)?;
        params.set_type(index, oid);
    }
    Ok(())
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
