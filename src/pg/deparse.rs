//! Text of a query, made by PostgreSQL itself from its tree.

use super::list;
use super::tree::QueryTree;
use pgrx::pg_sys::{self, NodeTag};
use std::ffi::CStr;
use std::ptr;

/// Deparses a query that was not rewritten yet, with every name qualified, so that the text means the same under any
/// `search_path`. Raises PostgreSQL's own errors.
pub fn query_text(query: QueryTree<'_>) -> Vec<u8> {
    // SAFETY: a valid query.
    unsafe { deparse(pg_sys::copyObjectImpl(query.as_ptr().cast()).cast()) }
}

/// As [`query_text`], for a query that was rewritten: defaults of identity columns, which the rewriter adds and SQL has no
/// words for, are left to the node again.
pub fn rewritten_text(query: QueryTree<'_>) -> Vec<u8> {
    // SAFETY: the copy is ours to change; its target list holds TargetEntry nodes.
    unsafe {
        let copy = pg_sys::copyObjectImpl(query.as_ptr().cast()).cast::<pg_sys::Query>();
        let mut kept: *mut pg_sys::List = ptr::null_mut();
        for entry in list::iter::<pg_sys::TargetEntry>((*copy).targetList) {
            let expr = (*entry).expr.cast::<pg_sys::Node>();
            if expr.is_null() || (*expr).type_ != NodeTag::T_NextValueExpr {
                kept = pg_sys::lappend(kept, entry.cast());
            }
        }
        (*copy).targetList = kept;
        deparse(copy)
    }
}

/// # Safety
/// `copy` is a valid query that nobody else uses: deparsing takes locks and may change it.
unsafe fn deparse(copy: *mut pg_sys::Query) -> Vec<u8> {
    // SAFETY: by the caller's promise. The setting is restored with its nest level; an error restores it with the
    // (sub)transaction.
    unsafe {
        let level = pg_sys::NewGUCNestLevel();
        pg_sys::set_config_option(
            c"search_path".as_ptr(),
            c"pg_catalog".as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
        let text = pg_sys::pg_get_querydef(copy, false);
        pg_sys::AtEOXact_GUC(true, level);
        CStr::from_ptr(text).to_bytes().to_vec()
    }
}
