//! Checks functions about to be called, however the call came about: from a plan, an expression of a procedural
//! language, a default, or a FunctionCall message of the client, which neither planner nor executor sees.

use super::server_functions::{FunctionScope, asks_relation, note_seed, scope_of};
use crate::catalog;
use crate::catalog::own_objects::asks_directory;
use crate::error::{Error, Result};
use crate::pg::catalog::names::displayed_call;
use crate::pg::catalog::object::FIRST_USER_OID;
use crate::pg::hooks::function_calls::is_function_call_message;
use crate::transaction;
use pgrx::pg_sys::{self, Oid, errcodes::PgSqlErrorCode};

/// Raises an error if the function must not be called here in this way.
pub fn check(function: Oid) -> Result<()> {
    if function.to_u32() == pg_sys::F_SET_CONFIG {
        transaction::note_settings_changed();
    }
    if function.to_u32() >= FIRST_USER_OID {
        catalog::gate::check_call(function)?;
    }
    if catalog::proof::is_coordinators() {
        return check_on_node(function);
    }
    if function.to_u32() == pg_sys::F_SETSEED {
        note_seed();
    }
    if asks_relation(function) && is_function_call_message() && catalog::in_use() {
        return Err(by_message(function));
    }
    Ok(())
}

/// On a node: functions, triggers and defaults of tenants must not create large objects here, where they would not be
/// found, set a seed that has no effect, or read the directory, which is empty here.
fn check_on_node(function: Oid) -> Result<()> {
    let detail = if function.to_u32() == pg_sys::F_SETSEED {
        "Random numbers of the session are generated on the coordinator."
    } else if scope_of(function) == Some(FunctionScope::LargeObject) {
        "Large objects are stored on the coordinator."
    } else if asks_directory(function) {
        "It reads the directory, which exists on the coordinator only."
    } else {
        return Ok(());
    };
    Err(Error::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot call {} in a function that runs on a node", displayed_call(function)),
    )
    .detail(detail)
    .hint("Call it in a separate statement or in a function of a plain schema; these run on the coordinator."))
}

/// The message's arguments are not known yet, and the result would be computed from the empty shell.
fn by_message(function: Oid) -> Error {
    let name = displayed_call(function);
    Error::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot call {name} with a FunctionCall message"),
    )
    .detail("Its argument may be on a node, to which only statements can be sent.")
    .hint(format!("Use a statement instead: SELECT {}(…).", name.trim_end_matches("()")))
}
