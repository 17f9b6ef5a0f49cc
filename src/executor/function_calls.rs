//! Looks at functions that are about to be called, whatever way leads to them: a plan, an expression of a procedural
//! language, a default, or a FunctionCall message of the client, which neither planner nor executor sees.

use super::server_functions::{Bond, asks_relation, bond, note_seed};
use crate::catalog;
use crate::catalog::own_objects::asks_directory;
use crate::error::{Error, Result};
use crate::pg::catalog::names::displayed_call;
use crate::pg::catalog::object::FIRST_USER_OID;
use crate::pg::hooks::function_calls::is_function_call_message;
use crate::transaction;
use pgrx::pg_sys::{self, Oid, errcodes::PgSqlErrorCode};

/// An error if the function must not be called here in this way.
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

/// On a node: what a tenant's function, trigger or default calls must not make large objects here, where nobody would
/// look for them, set the seed of numbers that nobody draws, or answer from a directory that is empty.
fn check_on_node(function: Oid) -> Result<()> {
    let detail = if function.to_u32() == pg_sys::F_SETSEED {
        "The session's numbers come from the coordinator."
    } else if bond(function) == Some(Bond::LargeObject) {
        "Large objects are on the coordinator."
    } else if asks_directory(function) {
        "It answers from the directory, which only the coordinator has."
    } else {
        return Ok(());
    };
    Err(Error::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("{} cannot be called by a function that runs on a node", displayed_call(function)),
    )
    .detail(detail)
    .hint("Call it in a statement of its own, or in a function of a plain schema: these run on the coordinator."))
}

/// The message's arguments are not known yet, and its result would come from the empty copy here.
fn by_message(function: Oid) -> Error {
    let name = displayed_call(function);
    Error::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("{name} cannot be called by a FunctionCall message"),
    )
    .detail("Its argument may live on a node, to which only statements are sent.")
    .hint(format!("Call it in a statement: SELECT {}(…).", name.trim_end_matches("()")))
}
