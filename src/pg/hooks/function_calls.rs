//! Functions before they are called (`OAT_FUNCTION_EXECUTE`): the server announces each once, when an expression is made
//! ready or a FunctionCall message has arrived.

use crate::error::Result;
use crate::pg::error::trampoline;
use pgrx::pg_sys::{self, Oid};

/// What the extension decides about a function before it is called.
pub trait FunctionHooks {
    /// Whether [`Self::check_function`] has anything to say about the function: asked for every function of every
    /// expression, so a comparison of numbers.
    fn is_watched(function: Oid) -> bool;
    /// Refuses a function that must not be called here in this way.
    fn check_function(function: Oid) -> Result<()>;
}

/// Whether the client called the function that was announced by a FunctionCall message: no statement is running, and
/// no expression is made ready in the memory of messages.
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
