//! The cursor of `WHERE CURRENT OF`.

use crate::pg::tree::parse_nodes;
use pgrx::pg_sys;
use std::ffi::CStr;

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
