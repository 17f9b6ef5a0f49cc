//! PostgreSQL functions that a query here may call on an object of a node, which is only known when the call
//! is executed (`nextval(some_variable)`), or with an effect that must be applied to the sessions on nodes (`set_config`).
//!
//! Before PostgreSQL plans a query, such calls are redirected to functions in schema `helios` with the same signature
//! (but another name, because tools look up PostgreSQL's by name), which ask the node (see `scalar.rs`) or record the
//! effect, and otherwise call PostgreSQL's function.

use crate::catalog::own_objects::SCHEMA;
use crate::pg::catalog::names;
use pgrx::pg_sys::{self, Oid};
use std::cell::Cell;

const COUNT: usize = 12;
/// PostgreSQL's functions and the names of their replacements in schema `helios`, with argument types.
const FUNCTIONS: [(u32, &str, &[Oid]); COUNT] = [
    (pg_sys::F_NEXTVAL, "routed_nextval", &[pg_sys::REGCLASSOID]),
    (pg_sys::F_CURRVAL, "routed_currval", &[pg_sys::REGCLASSOID]),
    (pg_sys::F_SETVAL_REGCLASS_INT8, "routed_setval", &[pg_sys::REGCLASSOID, pg_sys::INT8OID]),
    (
        pg_sys::F_SETVAL_REGCLASS_INT8_BOOL,
        "routed_setval",
        &[pg_sys::REGCLASSOID, pg_sys::INT8OID, pg_sys::BOOLOID],
    ),
    (
        pg_sys::F_SET_CONFIG,
        "followed_set_config",
        &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::BOOLOID],
    ),
    (pg_sys::F_PG_RELATION_SIZE_REGCLASS, "routed_relation_size", &[pg_sys::REGCLASSOID]),
    (
        pg_sys::F_PG_RELATION_SIZE_REGCLASS_TEXT,
        "routed_relation_size",
        &[pg_sys::REGCLASSOID, pg_sys::TEXTOID],
    ),
    (pg_sys::F_PG_TOTAL_RELATION_SIZE, "routed_total_relation_size", &[pg_sys::REGCLASSOID]),
    (pg_sys::F_PG_TABLE_SIZE, "routed_table_size", &[pg_sys::REGCLASSOID]),
    (pg_sys::F_PG_INDEXES_SIZE, "routed_indexes_size", &[pg_sys::REGCLASSOID]),
    (pg_sys::F_PG_SEQUENCE_LAST_VALUE, "routed_sequence_last_value", &[pg_sys::REGCLASSOID]),
    (pg_sys::F_PG_EXPORT_SNAPSHOT, "shared_snapshot", &[]),
];

thread_local! {
    static OURS: Cell<Option<[Oid; COUNT]>> = const { Cell::new(None) };
}

/// Whether calls of this function are redirected.
#[inline]
pub(super) fn applies_to(function: Oid) -> bool {
    FUNCTIONS.iter().any(|(theirs, ..)| *theirs == function.to_u32())
}

/// Schema and name of the replacement for a PostgreSQL function with this name, whatever its arguments.
pub(super) fn target_of_name(name: &str) -> Option<(&'static str, &'static str)> {
    let ours = match name {
        "nextval" => "routed_nextval",
        "currval" => "routed_currval",
        "setval" => "routed_setval",
        "set_config" => "followed_set_config",
        _ => return None,
    };
    Some((SCHEMA, ours))
}

/// The original function of a call that has already been redirected.
#[inline]
pub(super) fn original(function: Oid) -> Oid {
    let at = OURS.get().and_then(|ours| ours.iter().position(|of| *of == function));
    at.map_or(function, |at| FUNCTIONS[at].0.into())
}

/// The function to call instead; `None` if the extension in this database does not have it.
pub(super) fn target(function: Oid) -> Option<Oid> {
    let at = FUNCTIONS.iter().position(|(theirs, ..)| *theirs == function.to_u32())?;
    let known = OURS.get().filter(|ours| names::function_namespace(ours[at]).is_some());
    let ours = match known {
        Some(ours) => ours,
        None => {
            let found = FUNCTIONS.map(|(_, name, arguments)| {
                names::function(SCHEMA, name, arguments).unwrap_or(Oid::INVALID)
            });
            OURS.set(Some(found));
            found
        }
    };
    (ours[at] != Oid::INVALID).then_some(ours[at])
}
