//! Uses of `tableoid` in a query: tables have different OIDs on their node.
//!
//! Converted to a name (`tableoid::regclass`) it is the same on both; so is a comparison with other OIDs of the node,
//! or with a table's name.

use crate::pg::tree::list;
use pgrx::pg_sys::{self, NodeTag};

/// Whether the node is `tableoid` itself.
///
/// # Safety
/// `node` is null or a valid node.
pub(in crate::pg) unsafe fn is_one(node: *const pg_sys::Node) -> bool {
    // SAFETY: by the caller's promise; the cast follows the tag.
    unsafe {
        !node.is_null()
            && (*node).type_ == NodeTag::T_Var
            && i32::from((*node.cast::<pg_sys::Var>()).varattno) == pg_sys::TableOidAttributeNumber
    }
}

/// Whether the node is `tableoid::regclass`.
///
/// # Safety
/// `node` is a valid node.
pub(in crate::pg) unsafe fn is_named(node: *const pg_sys::Node) -> bool {
    // SAFETY: by the caller's promise; the cast follows the tag.
    unsafe {
        (*node).type_ == NodeTag::T_RelabelType && {
            let cast = &*node.cast::<pg_sys::RelabelType>();
            cast.resulttype == pg_sys::REGCLASSOID && is_one(cast.arg.cast())
        }
    }
}

/// Whether the node compares `tableoid` with something that is no number of this server.
///
/// # Safety
/// `node` is a valid node.
pub(in crate::pg) unsafe fn is_comparison(node: *const pg_sys::OpExpr) -> bool {
    // SAFETY: by the caller's promise.
    unsafe {
        let mut arguments = list::iter::<pg_sys::Node>((*node).args);
        let compares = list::iter::<pg_sys::Node>((*node).args).any(|argument| is_one(argument));
        compares && arguments.all(|argument| is_number_of_there(argument))
    }
}

/// What a comparison holds besides `tableoid`.
///
/// # Safety
/// `node` is a valid node.
pub(in crate::pg) unsafe fn others(
    node: *const pg_sys::OpExpr,
) -> impl Iterator<Item = *mut pg_sys::Node> {
    // SAFETY: by the caller's promise.
    unsafe { list::iter::<pg_sys::Node>((*node).args).filter(|&argument| !is_one(argument)) }
}

/// Whether this is the node's number, or a name: a column, what a query finds there, or something of type regclass. Other
/// numbers come from this server.
unsafe fn is_number_of_there(mut node: *mut pg_sys::Node) -> bool {
    // SAFETY: a valid expression; the casts follow the tags.
    unsafe {
        while (*node).type_ == NodeTag::T_RelabelType {
            node = (*node.cast::<pg_sys::RelabelType>()).arg.cast();
        }
        matches!((*node).type_, NodeTag::T_Var | NodeTag::T_SubLink)
            || pg_sys::exprType(node) == pg_sys::REGCLASSOID
    }
}
