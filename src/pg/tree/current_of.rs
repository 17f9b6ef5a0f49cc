//! `WHERE CURRENT OF`: the cursor has another name on the node, which is known when the statement runs.

use crate::pg::tree::cursor_name::PLACE;
use crate::pg::tree::{QueryTree, expression_tree_walker, query_tree_walker};
use pgrx::pg_sys::{self, NodeTag};
use std::ffi::c_void;

/// Puts [`PLACE`] for the names of cursors in the query, at any depth; changes the tree.
pub fn hide_names(query: QueryTree<'_>) {
    // SAFETY: a valid query that the caller lets us change.
    unsafe {
        hide(query.as_ptr().cast(), std::ptr::null_mut());
    }
}

unsafe extern "C-unwind" fn hide(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: PostgreSQL walks a valid tree; the casts follow the tags.
    unsafe {
        if (*node).type_ == NodeTag::T_Query {
            return query_tree_walker(node.cast(), hide, context, 0);
        }
        if (*node).type_ == NodeTag::T_CurrentOfExpr {
            let current = &mut *node.cast::<pg_sys::CurrentOfExpr>();
            (current.cursor_param, current.cursor_name) = (0, pg_sys::pstrdup(PLACE.as_ptr()));
        }
        expression_tree_walker(node, hide, context)
    }
}
