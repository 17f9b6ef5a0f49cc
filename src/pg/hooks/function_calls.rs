//! Function calls (`OAT_FUNCTION_EXECUTE`): the server reports each function once, when an expression is initialized or
//! a FunctionCall message arrives.

use crate::error::Result;
use crate::pg::error::trampoline;
use pgrx::pg_sys::{self, Oid};

/// Decisions of the extension before a function is called.
pub trait FunctionHooks {
    /// Whether [`Self::check_function`] applies to the function; called for every function in every expression, so it
    /// only compares numbers.
    fn is_watched(function: Oid) -> bool;
    /// Rejects a function that must not be called here in this way.
    fn check_function(function: Oid) -> Result<()>;
}

/// Whether the reported function is called by a FunctionCall message of the client: no statement is running, and no
/// expression is being initialized in MessageContext.
pub fn is_function_call_message() -> bool {
    // SAFETY: reads variables of this backend.
    unsafe {
        pg_sys::ActivePortal.is_null()
            && std::ptr::eq(pg_sys::CurrentMemoryContext, pg_sys::MessageContext)
    }
}

/// Called by the object access hook.
///
/// # Safety
/// The caller's frame owns nothing with a destructor.
pub(in crate::pg) unsafe fn announced<H: FunctionHooks>(function: Oid) {
    if !H::is_watched(function) {
        return;
    }
    // SAFETY: by the caller's promise.
    unsafe { trampoline((), || H::check_function(function)) }
}
