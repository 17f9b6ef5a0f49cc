//! New parse nodes.

use pgrx::pg_sys::{self, NodeTag};

/// A parse node of this kind whose fields are all zero.
///
/// # Safety
/// `T` is the struct that belongs to the tag, and zero is a valid value for all of its fields.
pub(in crate::pg) unsafe fn node<T>(tag: NodeTag) -> *mut T {
    // SAFETY: every node begins with its tag; the rest is zero.
    unsafe {
        let node = pg_sys::palloc0(size_of::<T>()).cast::<T>();
        node.cast::<pg_sys::Node>().write(pg_sys::Node { type_: tag });
        node
    }
}
