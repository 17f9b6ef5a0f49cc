//! Hears of functions before they are called: the server announces each once, when an expression is made ready or a
//! FunctionCall message has arrived.

use crate::error::Result;
use crate::pg::error::trampoline;
use crate::pg::tree::server_functions::is_watched;
use pgrx::pg_sys::{self, Oid};
use std::sync::OnceLock;

static CHECK: OnceLock<fn(Oid) -> Result<()>> = OnceLock::new();

/// Sets who looks at functions; once, when the library is loaded.
pub fn install(check: fn(Oid) -> Result<()>) {
    CHECK.get_or_init(|| check);
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

/// Told by the object access hook.
///
/// # Safety
/// The caller's frame owns nothing with a destructor.
pub(in crate::pg) unsafe fn announced(function: Oid) {
    if !is_watched(function) {
        return;
    }
    // SAFETY: by the caller's promise.
    unsafe { trampoline((), || CHECK.get().map_or(Ok(()), |check| check(function))) }
}
