//! Hears which objects a statement creates, alters and drops.

use crate::error::Result;
use crate::pg::catalog::object::{self, Object};
use crate::pg::error::trampoline;
use pgrx::pg_sys::{self, ObjectAccessType, Oid};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was made.
    Created,
    /// Its definition was changed.
    Altered,
    /// It is about to go.
    Dropped,
}

/// Who wants to know.
pub struct Listener {
    /// Called for each object, while recording.
    pub record: fn(Event, Object) -> Result<()>,
    /// Called for each object that is altered, dropped or truncated by a statement and not by the server itself,
    /// before that is visible.
    pub touches: fn(Object) -> Result<()>,
    /// A subtransaction of this level has failed (0: the transaction has ended). Must not raise an error.
    pub failed: fn(i32),
}

static LISTENER: OnceLock<Listener> = OnceLock::new();

thread_local! {
    static PREVIOUS: Cell<pg_sys::object_access_hook_type> = const { Cell::new(None) };
    static RECORDING: Cell<bool> = const { Cell::new(false) };
}

/// Turns the listener on and off.
pub fn set_recording(on: bool) {
    RECORDING.set(on);
}

/// Puts the hook in. Called once, from `_PG_init`.
pub fn install(listener: Listener) {
    let _ = LISTENER.set(listener);
    // SAFETY: the postmaster is alone while it loads libraries.
    unsafe {
        PREVIOUS.set(pg_sys::object_access_hook);
        pg_sys::object_access_hook = Some(object_access);
    }
    on_subtransaction_abort();
}

unsafe extern "C-unwind" fn object_access(
    access: ObjectAccessType::Type,
    class: Oid,
    id: Oid,
    part: c_int,
    argument: *mut c_void,
) {
    if let Some(previous) = PREVIOUS.get() {
        // SAFETY: passed on as it came.
        unsafe { previous(access, class, id, part, argument) }
    }
    // SAFETY: this frame owns nothing with a destructor; the argument is what the server says it is.
    unsafe {
        if access == ObjectAccessType::OAT_FUNCTION_EXECUTE {
            return crate::pg::hooks::function_calls::announced(id);
        }
        let internal = is_internal(access, argument);
        let object = object::child_of_inheritance(Object { class, id });
        let touched = matches!(
            access,
            ObjectAccessType::OAT_POST_ALTER
                | ObjectAccessType::OAT_DROP
                | ObjectAccessType::OAT_TRUNCATE
        );
        if touched && !internal {
            trampoline((), || LISTENER.get().map_or(Ok(()), |listener| (listener.touches)(object)));
        }
        let event = match access {
            ObjectAccessType::OAT_POST_CREATE => Event::Created,
            ObjectAccessType::OAT_POST_ALTER => Event::Altered,
            // A relation loses a column.
            ObjectAccessType::OAT_DROP if part != 0 => Event::Altered,
            ObjectAccessType::OAT_DROP => Event::Dropped,
            _ => return,
        };
        if !RECORDING.get() {
            return;
        }
        // What an extension's script makes is the extension's business.
        let of_extension = pg_sys::creating_extension;
        trampoline((), || record(event, object, internal, of_extension))
    }
}

/// Whether the server alters or drops the object for reasons of its own.
///
/// # Safety
/// The arguments are those of the hook.
unsafe fn is_internal(access: ObjectAccessType::Type, argument: *mut c_void) -> bool {
    // SAFETY: the caller's word; the kind of access says what the argument is.
    unsafe {
        match access {
            _ if argument.is_null() => false,
            ObjectAccessType::OAT_DROP => {
                let flags = (*argument.cast::<pg_sys::ObjectAccessDrop>()).dropflags;
                flags & pg_sys::PERFORM_DELETION_INTERNAL as c_int != 0
            }
            ObjectAccessType::OAT_POST_ALTER => {
                (*argument.cast::<pg_sys::ObjectAccessPostAlter>()).is_internal
            }
            _ => false,
        }
    }
}

fn record(event: Event, object: Object, internal: bool, of_extension: bool) -> Result<()> {
    // The server names a new default by its table.
    let object = match event {
        Event::Created => object::whole_of_default(object),
        _ => object,
    };
    if (internal && event == Event::Dropped) || (of_extension && !object::is_extension(object)) {
        return Ok(());
    }
    LISTENER.get().map_or(Ok(()), |listener| (listener.record)(event, object))
}

fn on_subtransaction_abort() {
    // SAFETY: the callbacks live as long as the process and only shorten a list.
    unsafe {
        pg_sys::RegisterSubXactCallback(Some(subtransaction_event), std::ptr::null_mut());
        pg_sys::RegisterXactCallback(Some(transaction_event), std::ptr::null_mut());
    }
}

unsafe extern "C-unwind" fn subtransaction_event(
    event: pg_sys::SubXactEvent::Type,
    _sub: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _: *mut c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        // SAFETY: reads a backend-local variable.
        failed(unsafe { pg_sys::GetCurrentTransactionNestLevel() });
    }
}

unsafe extern "C-unwind" fn transaction_event(event: pg_sys::XactEvent::Type, _: *mut c_void) {
    match event {
        pg_sys::XactEvent::XACT_EVENT_ABORT | pg_sys::XactEvent::XACT_EVENT_COMMIT => {
            failed(0);
        }
        _ => {}
    }
}

fn failed(level: i32) {
    if RECORDING.get()
        && let Some(listener) = LISTENER.get()
    {
        (listener.failed)(level);
    }
}
