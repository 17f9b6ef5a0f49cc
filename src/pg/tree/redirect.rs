//! Functions of PostgreSQL that a query here may call with something of a node as their argument, which only the call
//! itself shows (`nextval(some_variable)`), or whose effect the sessions to nodes must hear of (`set_config`).
//!
//! Before PostgreSQL plans a query, calls of these are turned to functions of the same signature (and another name: tools look for theirs by name) in schema `helios`, which
//! ask the node, or note the effect and go on to PostgreSQL's own.

use crate::error::Result;
use crate::pg::error::trampoline;
use pgrx::pg_sys::{self, Oid};
use pgrx::{FromDatum, IntoDatum};
use std::cell::Cell;
use std::ffi::{CString, c_char};
use std::ptr;

/// A function of sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceCall {
    /// `nextval(sequence)`.
    Advance,
    /// `currval(sequence)`.
    Current,
    /// `setval(sequence, value[, is_called])`.
    Set(i64, Option<bool>),
}

/// A function that tells something of a relation's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelationCall {
    /// `pg_relation_size(relation, fork)`.
    Size(String),
    /// `pg_total_relation_size(relation)`.
    TotalSize,
    /// `pg_table_size(relation)`.
    TableSize,
    /// `pg_indexes_size(relation)`.
    IndexesSize,
    /// `pg_sequence_last_value(sequence)`.
    LastValue,
}

/// What the redirected functions do besides PostgreSQL's own.
pub trait RedirectHooks {
    /// Runs the call on the sequence's node; `None` if the sequence is here, and stays here until
    /// [`Self::redirected_call_ended`] is called.
    fn sequence(sequence: Oid, call: SequenceCall) -> Result<Option<i64>>;
    /// Asks the relation's node; `None` if the relation is here. The answer may be NULL.
    fn relation_data(relation: Oid, call: RelationCall) -> Result<Option<Option<i64>>>;
    /// Called after a call of a sequence's function that ran here.
    fn redirected_call_ended();
    /// Called after `set_config()`.
    fn set_config_called();
    /// Makes of the identifier of a snapshot that was exported here that of one on all nodes.
    fn snapshot_exported(identifier: &str) -> Result<String>;
}

const COUNT: usize = 12;
/// PostgreSQL's functions and the names of theirs in schema `helios`, with their argument types.
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
pub(in crate::pg) fn applies_to(function: Oid) -> bool {
    FUNCTIONS.iter().any(|(theirs, ..)| *theirs == function.to_u32())
}

/// Ours for a function of PostgreSQL's by its name, whatever its arguments.
pub(in crate::pg) fn named(name: &str) -> Option<&'static str> {
    match name {
        "nextval" => Some("routed_nextval"),
        "currval" => Some("routed_currval"),
        "setval" => Some("routed_setval"),
        "set_config" => Some("followed_set_config"),
        _ => None,
    }
}

/// PostgreSQL's function where a call was turned to ours already.
pub(in crate::pg) fn original(function: Oid) -> Oid {
    let at = OURS.get().and_then(|ours| ours.iter().position(|of| *of == function));
    at.map_or(function, |at| FUNCTIONS[at].0.into())
}

/// The function to call instead; `None` if the extension in this database does not have it.
pub(in crate::pg) fn target(function: Oid) -> Option<Oid> {
    let at = FUNCTIONS.iter().position(|(theirs, ..)| *theirs == function.to_u32())?;
    let known = OURS.get().filter(|ours| exists(ours[at]));
    let ours = match known {
        Some(ours) => ours,
        None => {
            let found = FUNCTIONS.map(|(_, name, arguments)| look_up(name, arguments));
            OURS.set(Some(found));
            found
        }
    };
    (ours[at] != Oid::INVALID).then_some(ours[at])
}

fn exists(function: Oid) -> bool {
    // SAFETY: a syscache look-up.
    function != Oid::INVALID && unsafe { pg_sys::get_func_namespace(function) } != Oid::INVALID
}

/// A function of schema `helios`.
pub(in crate::pg) fn look_up(name: &str, arguments: &[Oid]) -> Oid {
    let name = CString::new(name).unwrap_or_default();
    // SAFETY: a list of two palloc'd strings; a missing function gives an invalid OID.
    unsafe {
        let mut names = pg_sys::lappend(
            std::ptr::null_mut(),
            pg_sys::makeString(pg_sys::pstrdup(c"helios".as_ptr())).cast(),
        );
        names = pg_sys::lappend(names, pg_sys::makeString(pg_sys::pstrdup(name.as_ptr())).cast());
        pg_sys::LookupFuncName(names, arguments.len() as i32, arguments.as_ptr(), true)
    }
}

/// `helios.routed_nextval(regclass)`.
///
/// # Safety
/// Called by the function manager with this function's arguments, from a frame that owns nothing with a destructor.
pub unsafe fn nextval<H: RedirectHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: by the caller's promise.
    unsafe { on_sequence::<H>(fcinfo, SequenceCall::Advance, nextval_oid) }
}

/// `helios.routed_currval(regclass)`.
///
/// # Safety
/// As [`nextval`].
pub unsafe fn currval<H: RedirectHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: by the caller's promise.
    unsafe { on_sequence::<H>(fcinfo, SequenceCall::Current, currval_oid) }
}

/// `helios.routed_setval(regclass, bigint)`.
///
/// # Safety
/// As [`nextval`].
pub unsafe fn setval<H: RedirectHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: by the caller's promise.
    unsafe {
        on_sequence::<H>(fcinfo, SequenceCall::Set(argument(fcinfo, 1) as i64, None), setval_oid)
    }
}

/// `helios.routed_setval(regclass, bigint, boolean)`.
///
/// # Safety
/// As [`nextval`].
pub unsafe fn setval3<H: RedirectHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: by the caller's promise.
    unsafe {
        let is_called = argument(fcinfo, 2) as u8 != 0;
        let call = SequenceCall::Set(argument(fcinfo, 1) as i64, Some(is_called));
        on_sequence::<H>(fcinfo, call, setval3_oid)
    }
}

/// `helios.followed_set_config(text, text, boolean)`.
///
/// # Safety
/// As [`nextval`].
pub unsafe fn set_config<H: RedirectHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: by the caller's promise.
    unsafe {
        let result = set_config_by_name(fcinfo);
        tell(H::set_config_called);
        result
    }
}

/// `helios.routed_relation_size(regclass, text)`.
///
/// # Safety
/// As [`nextval`].
pub unsafe fn relation_size<H: RedirectHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: by the caller's promise.
    unsafe {
        let fork = pg_sys::text_to_cstring(argument(fcinfo, 1) as *mut pg_sys::text);
        on_relation::<H>(fcinfo, fork, pg_relation_size, |fork| {
            RelationCall::Size(crate::pg::tree::parse_nodes::text(fork).unwrap_or_default())
        })
    }
}

/// `helios.routed_total_relation_size(regclass)`.
///
/// # Safety
/// As [`nextval`].
pub unsafe fn total_size<H: RedirectHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: by the caller's promise.
    unsafe {
        on_relation::<H>(fcinfo, ptr::null(), pg_total_relation_size, |_| RelationCall::TotalSize)
    }
}

/// `helios.routed_table_size(regclass)`.
///
/// # Safety
/// As [`nextval`].
pub unsafe fn table_size<H: RedirectHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: by the caller's promise.
    unsafe { on_relation::<H>(fcinfo, ptr::null(), pg_table_size, |_| RelationCall::TableSize) }
}

/// `helios.routed_indexes_size(regclass)`.
///
/// # Safety
/// As [`nextval`].
pub unsafe fn indexes_size<H: RedirectHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: by the caller's promise.
    unsafe { on_relation::<H>(fcinfo, ptr::null(), pg_indexes_size, |_| RelationCall::IndexesSize) }
}

/// `helios.routed_sequence_last_value(regclass)`.
///
/// # Safety
/// As [`nextval`].
pub unsafe fn last_value<H: RedirectHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: by the caller's promise.
    unsafe {
        on_relation::<H>(fcinfo, ptr::null(), pg_sequence_last_value, |_| RelationCall::LastValue)
    }
}

/// `helios.shared_snapshot()`.
///
/// # Safety
/// As [`nextval`].
pub unsafe fn export_snapshot<H: RedirectHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: by the caller's promise.
    unsafe {
        let own = pg_export_snapshot(fcinfo);
        trampoline(own, || {
            let identifier = String::from_datum(own, false).unwrap_or_default();
            let all = H::snapshot_exported(&identifier)?;
            Ok(all.into_datum().unwrap_or(own))
        })
    }
}

/// # Safety
/// Called by a frame with nothing that would have to be dropped.
unsafe fn tell(ended: impl FnOnce()) {
    // SAFETY: by the caller's promise.
    unsafe {
        trampoline((), || {
            ended();
            Ok(())
        });
    }
}

type SqlFunction = unsafe extern "C-unwind" fn(pg_sys::FunctionCallInfo) -> pg_sys::Datum;

unsafe extern "C-unwind" {
    // Not the bindings of pgrx: their guards would strip errors of their fields.
    fn nextval_oid(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum;
    fn currval_oid(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum;
    fn setval_oid(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum;
    fn setval3_oid(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum;
    fn set_config_by_name(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum;
    fn pg_relation_size(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum;
    fn pg_total_relation_size(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum;
    fn pg_table_size(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum;
    fn pg_indexes_size(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum;
    fn pg_sequence_last_value(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum;
    fn pg_export_snapshot(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum;
}

/// # Safety
/// `fcinfo` is valid and has more than `index` arguments.
pub(in crate::pg) unsafe fn argument(fcinfo: pg_sys::FunctionCallInfo, index: usize) -> usize {
    // SAFETY: by the caller's promise.
    unsafe { (*(*fcinfo).args.as_ptr().add(index)).value.value() }
}

/// # Safety
/// `fcinfo` is that of a call of a strict function of a sequence.
unsafe fn on_sequence<H: RedirectHooks>(
    fcinfo: pg_sys::FunctionCallInfo,
    call: SequenceCall,
    here: SqlFunction,
) -> pg_sys::Datum {
    // SAFETY: by the caller's promise; int8 is passed by value.
    unsafe {
        let sequence = Oid::from(argument(fcinfo, 0) as u32);
        let remote = trampoline(None, || H::sequence(sequence, call));
        match remote {
            Some(value) => pg_sys::Datum::from(value),
            None => {
                let result = here(fcinfo);
                tell(H::redirected_call_ended);
                result
            }
        }
    }
}

/// # Safety
/// `fcinfo` is that of a call of a strict function of a relation; `fork` is NULL or ends with NUL.
unsafe fn on_relation<H: RedirectHooks>(
    fcinfo: pg_sys::FunctionCallInfo,
    fork: *const c_char,
    here: SqlFunction,
    call: unsafe fn(*const c_char) -> RelationCall,
) -> pg_sys::Datum {
    // SAFETY: by the caller's promise; int8 is passed by value.
    unsafe {
        let relation = Oid::from(argument(fcinfo, 0) as u32);
        let remote = trampoline(None, || H::relation_data(relation, call(fork)));
        match remote {
            Some(Some(value)) => pg_sys::Datum::from(value),
            Some(None) => {
                (*fcinfo).isnull = true;
                pg_sys::Datum::null()
            }
            None => here(fcinfo),
        }
    }
}
