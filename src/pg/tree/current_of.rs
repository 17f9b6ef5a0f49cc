//! `WHERE CURRENT OF`: the cursor has another name on the node, which is known when the statement runs.

use crate::pg::tree::{QueryTree, expression_tree_walker, parse_nodes, query_tree_walker};
use pgrx::pg_sys::{self, NodeTag};
use std::ffi::{CStr, c_void};

/// Stands for the name in a statement's text.
pub const PLACE: &CStr = c"helios cursor of this statement";

/// Which cursor is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CursorName {
    /// The one of this name.
    Name(String),
    /// The one whose name is the value of the parameter with this number.
    Param(i32),
}

/// # Safety
/// `node` is valid.
pub(super) unsafe fn name(node: *const pg_sys::CurrentOfExpr) -> CursorName {
    // SAFETY: by the caller's promise; the name is null or a C string.
    unsafe {
        match parse_nodes::text((*node).cursor_name) {
            Some(name) => CursorName::Name(name),
            None => CursorName::Param((*node).cursor_param),
        }
    }
}

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
