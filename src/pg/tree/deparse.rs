//! Deparses queries with PostgreSQL's own functions.

use crate::error::Result;
use crate::pg::session::own_settings::OwnSettings;
use crate::pg::tree::QueryTree;
use crate::pg::tree::{deparse_marks, insert_source, list, masked_names};
use pgrx::pg_sys::{self, NodeTag};
use std::ffi::CStr;
use std::ptr;

/// Deparses a query before rewriting, with every name qualified, so that the text has the same meaning with any
/// `search_path`. Raises PostgreSQL's own errors.
///
/// Errors: 0A000 for constructs that PostgreSQL does not deparse to valid text.
pub fn query_text(query: QueryTree<'_>) -> Result<Vec<u8>> {
    // SAFETY: a valid query.
    unsafe { deparse(pg_sys::copyObjectImpl(query.as_ptr().cast()).cast()) }
}

/// Like [`query_text`], for a rewritten query: defaults of identity columns, which the rewriter adds and SQL cannot
/// express, are left to the node.
pub fn rewritten_text(query: QueryTree<'_>) -> Result<Vec<u8>> {
    // SAFETY: the copy is ours to change; its target list holds TargetEntry nodes.
    unsafe {
        let copy = pg_sys::copyObjectImpl(query.as_ptr().cast()).cast::<pg_sys::Query>();
        make_insert_readable(copy);
        for cte in list::iter::<pg_sys::CommonTableExpr>((*copy).cteList) {
            make_insert_readable((*cte).ctequery.cast());
        }
        deparse(copy)
    }
}

/// Undoes what the rewriter has done to an INSERT and SQL cannot express.
///
/// # Safety
/// `query` is valid and ours to change.
unsafe fn make_insert_readable(query: *mut pg_sys::Query) {
    // SAFETY: by the caller's promise; its target list holds TargetEntry nodes.
    unsafe {
        if (*query).commandType != pg_sys::CmdType::CMD_INSERT {
            return;
        }
        let mut kept: *mut pg_sys::List = ptr::null_mut();
        for entry in list::iter::<pg_sys::TargetEntry>((*query).targetList) {
            let expr = (*entry).expr.cast::<pg_sys::Node>();
            if expr.is_null() || (*expr).type_ != NodeTag::T_NextValueExpr {
                kept = pg_sys::lappend(kept, entry.cast());
            }
        }
        (*query).targetList = kept;
        if insert_source::is_needed(query) {
            insert_source::make(query);
        }
    }
}

/// With these settings every name is qualified, and constants are formatted independently of the settings of the server
/// that reads them.
const SETTINGS: [(&CStr, &CStr); 4] = [
    (c"search_path", c"pg_catalog"),
    (c"datestyle", c"ISO"),
    (c"intervalstyle", c"postgres"),
    (c"extra_float_digits", c"3"),
];

/// The text of a query, as [`query_text`].
///
/// Errors: 0A000 also if the current `search_path` would give the text another meaning.
///
/// # Safety
/// `copy` is a valid query that nobody else uses: deparsing takes locks and may change it.
pub(in crate::pg) unsafe fn deparse(copy: *mut pg_sys::Query) -> Result<Vec<u8>> {
    // SAFETY: by the caller's promise.
    unsafe {
        masked_names::check(copy)?;
        deparse_marks::make_readable(copy)?;
    }
    let _readable = OwnSettings::begin(&SETTINGS);
    // SAFETY: by the caller's promise; returns a palloc'd C string.
    unsafe { Ok(CStr::from_ptr(pg_sys::pg_get_querydef(copy, false)).to_bytes().to_vec()) }
}
