//! Replacements of PostgreSQL's functions in plans: they ask the extension first, which may get the answer from
//! another server, and otherwise call PostgreSQL's function.

use crate::error::Result;
use crate::pg::error::trampoline;
use crate::pg::exec::function_call::argument;
use pgrx::pg_sys::{self, Oid};
use pgrx::{FromDatum, IntoDatum};
use std::ffi::c_char;
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

/// What replacements do in addition to calling PostgreSQL's function.
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
    /// Converts the identifier of a snapshot exported here to that of a snapshot on all nodes.
    fn snapshot_exported(identifier: &str) -> Result<String>;
}

/// Replacement for `nextval(regclass)`.
///
/// # Safety
/// Called by the function manager with this function's arguments, from a frame that owns nothing with a destructor.
pub unsafe fn nextval<H: RedirectHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: by the caller's promise.
    unsafe { on_sequence::<H>(fcinfo, SequenceCall::Advance, nextval_oid) }
}

/// Replacement for `currval(regclass)`.
///
/// # Safety
/// As [`nextval`].
pub unsafe fn currval<H: RedirectHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: by the caller's promise.
    unsafe { on_sequence::<H>(fcinfo, SequenceCall::Current, currval_oid) }
}

/// Replacement for `setval(regclass, bigint)`.
///
/// # Safety
/// As [`nextval`].
pub unsafe fn setval<H: RedirectHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: by the caller's promise.
    unsafe {
        on_sequence::<H>(fcinfo, SequenceCall::Set(argument(fcinfo, 1) as i64, None), setval_oid)
    }
}

/// Replacement for `setval(regclass, bigint, boolean)`.
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

/// Replacement for `set_config(text, text, boolean)`.
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

/// Replacement for `pg_relation_size(regclass, text)`.
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

/// Replacement for `pg_total_relation_size(regclass)`.
///
/// # Safety
/// As [`nextval`].
pub unsafe fn total_size<H: RedirectHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: by the caller's promise.
    unsafe {
        on_relation::<H>(fcinfo, ptr::null(), pg_total_relation_size, |_| RelationCall::TotalSize)
    }
}

/// Replacement for `pg_table_size(regclass)`.
///
/// # Safety
/// As [`nextval`].
pub unsafe fn table_size<H: RedirectHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: by the caller's promise.
    unsafe { on_relation::<H>(fcinfo, ptr::null(), pg_table_size, |_| RelationCall::TableSize) }
}

/// Replacement for `pg_indexes_size(regclass)`.
///
/// # Safety
/// As [`nextval`].
pub unsafe fn indexes_size<H: RedirectHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: by the caller's promise.
    unsafe { on_relation::<H>(fcinfo, ptr::null(), pg_indexes_size, |_| RelationCall::IndexesSize) }
}

/// Replacement for `pg_sequence_last_value(regclass)`.
///
/// # Safety
/// As [`nextval`].
pub unsafe fn last_value<H: RedirectHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: by the caller's promise.
    unsafe {
        on_relation::<H>(fcinfo, ptr::null(), pg_sequence_last_value, |_| RelationCall::LastValue)
    }
}

/// Replacement for `pg_export_snapshot()`.
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
