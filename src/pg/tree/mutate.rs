//! PostgreSQL's function that copies expressions with changes.

use pgrx::pg_sys;
use std::ffi::c_void;

/// Gives what takes a node's place.
pub(in crate::pg) type Mutator =
    unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut c_void) -> *mut pg_sys::Node;

// Calls back into Rust for every node, without a guard in between; the callback's frames have no destructors.
unsafe extern "C-unwind" {
    #[cfg_attr(not(feature = "pg15"), link_name = "expression_tree_mutator_impl")]
    pub(in crate::pg) fn expression_tree_mutator(
        node: *mut pg_sys::Node,
        mutator: Mutator,
        context: *mut c_void,
    ) -> *mut pg_sys::Node;
}
