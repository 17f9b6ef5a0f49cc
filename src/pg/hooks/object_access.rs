//! `object_access_hook`: the objects that a statement creates, alters and drops, and the functions about to be called.

use crate::error::Result;
use crate::pg::catalog::object::{self, Object};
use crate::pg::error::trampoline;
use crate::pg::hooks::function_calls::{self, FunctionHooks};
use pgrx::pg_sys::{self, ObjectAccessType, Oid};
use std::cell::Cell;
use std::ffi::{c_int, c_void};

/// An event on an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was created.
    Created,
    /// It was altered.
    Altered,
    /// It is about to be dropped.
    Dropped,
}

/// Tracks the objects that statements create, alter and drop.
pub trait ObjectHooks {
    /// Called for each event, while recording.
    fn record(event: Event, object: Object) -> Result<()>;
    /// Called for each object that a statement, as opposed to the server itself, alters, drops or truncates, before
    /// that is visible.
    fn touches(object: Object) -> Result<()>;
    /// A subtransaction of this level was aborted (0: the transaction has ended). Raises no errors.
    fn recording_failed(level: i32);
}

thread_local! {
    static PREVIOUS: Cell<pg_sys::object_access_hook_type> = const { Cell::new(None) };
    static RECORDING: Cell<bool> = const { Cell::new(false) };
}

/// Turns the recording of objects on and off.
pub fn set_recording(on: bool) {
    RECORDING.set(on);
}

/// Installs the hook; called once, when the library is loaded.
pub(super) fn install<H: ObjectHooks + FunctionHooks>() {
    // SAFETY: the postmaster is alone while it loads libraries. The callbacks live as long as the process and only shorten
    // a list.
    unsafe {
        PREVIOUS.set(pg_sys::object_access_hook);
        pg_sys::object_access_hook = Some(object_access::<H>);
        pg_sys::RegisterSubXactCallback(Some(subtransaction_event::<H>), std::ptr::null_mut());
        pg_sys::RegisterXactCallback(Some(transaction_event::<H>), std::ptr::null_mut());
    }
}

unsafe extern "C-unwind" fn object_access<H: ObjectHooks + FunctionHooks>(
    access: ObjectAccessType::Type,
    class: Oid,
    id: Oid,
    part: c_int,
    argument: *mut c_void,
) {
    if let Some(previous) = PREVIOUS.get() {
        // SAFETY: the arguments are passed on unchanged.
        unsafe { previous(access, class, id, part, argument) }
    }
    // SAFETY: this frame owns nothing with a destructor; the argument has the type that the server documents.
    unsafe {
        if access == ObjectAccessType::OAT_FUNCTION_EXECUTE {
            return function_calls::announced::<H>(id);
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
            trampoline((), || H::touches(object));
        }
        let event = match access {
            ObjectAccessType::OAT_POST_CREATE => Event::Created,
            ObjectAccessType::OAT_POST_ALTER => Event::Altered,
            // A column is dropped.
            ObjectAccessType::OAT_DROP if part != 0 => Event::Altered,
            ObjectAccessType::OAT_DROP => Event::Dropped,
            _ => return,
        };
        if !RECORDING.get() {
            return;
        }
        // Objects created by an extension script belong to the extension.
        let of_extension = pg_sys::creating_extension;
        trampoline((), || record::<H>(event, object, internal, of_extension))
    }
}

/// Whether the server alters or drops the object internally.
///
/// # Safety
/// The arguments are those of the hook.
unsafe fn is_internal(access: ObjectAccessType::Type, argument: *mut c_void) -> bool {
    // SAFETY: by the caller's promise; the kind of access says what the argument is.
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

fn record<H: ObjectHooks>(
    event: Event,
    object: Object,
    internal: bool,
    of_extension: bool,
) -> Result<()> {
    // The server identifies a new default by its table.
    let object = match event {
        Event::Created => object::whole_of_default(object),
        _ => object,
    };
    if (internal && event == Event::Dropped) || (of_extension && !object::is_extension(object)) {
        return Ok(());
    }
    H::record(event, object)
}

unsafe extern "C-unwind" fn subtransaction_event<H: ObjectHooks>(
    event: pg_sys::SubXactEvent::Type,
    _sub: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _: *mut c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        // SAFETY: reads a backend-local variable.
        failed::<H>(unsafe { pg_sys::GetCurrentTransactionNestLevel() });
    }
}

unsafe extern "C-unwind" fn transaction_event<H: ObjectHooks>(
    event: pg_sys::XactEvent::Type,
    _: *mut c_void,
) {
    match event {
        pg_sys::XactEvent::XACT_EVENT_ABORT | pg_sys::XactEvent::XACT_EVENT_COMMIT => {
            failed::<H>(0);
        }
        _ => {}
    }
}

fn failed<H: ObjectHooks>(level: i32) {
    if RECORDING.get() {
        H::recording_failed(level);
    }
}
