//! Text of a query, made by PostgreSQL itself from its tree.

use super::tree::QueryTree;
use pgrx::pg_sys;
use std::ffi::CStr;

/// Deparses `query` with every name qualified, so that the text means the same under any `search_path`.
/// Raises PostgreSQL's own errors.
pub fn query_text(query: QueryTree<'_>) -> Vec<u8> {
    // SAFETY: pg_get_querydef takes locks on its argument's relations and may change the tree: it gets a copy. The
    // setting is restored with its nest level; an error restores it with the (sub)transaction.
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
        let copy = pg_sys::copyObjectImpl(query.as_ptr().cast()).cast::<pg_sys::Query>();
        let text = pg_sys::pg_get_querydef(copy, false);
        pg_sys::AtEOXact_GUC(true, level);
        CStr::from_ptr(text).to_bytes().to_vec()
    }
}
