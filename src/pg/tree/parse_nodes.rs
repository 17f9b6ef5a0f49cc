//! Small readers of PostgreSQL's strings, options and range variables. Lists have a file of their own.

use crate::pg::tree::list;
use pgrx::pg_sys;
use std::ffi::{CStr, CString, c_char};

/// A C string as text; None for NULL.
///
/// # Safety
/// `text` is NULL or ends with NUL.
pub unsafe fn text(text: *const c_char) -> Option<String> {
    // SAFETY: by the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// A palloc'd copy of a text; what follows a NUL is cut off.
pub fn palloc_text(text: &str) -> *mut c_char {
    let text = CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default();
    // SAFETY: `text` is NUL-terminated and outlives the copy.
    unsafe { pg_sys::pstrdup(text.as_ptr()) }
}

/// The text of a String node.
///
/// # Safety
/// `node` is NULL or a valid node.
pub unsafe fn string(node: *mut pg_sys::Node) -> Option<String> {
    // SAFETY: by the caller's promise; only a String node is read as one.
    unsafe {
        if node.is_null() || (*node).type_ != pg_sys::NodeTag::T_String {
            return None;
        }
        text((*node.cast::<pg_sys::String>()).sval)
    }
}

/// An option's text in a list of options (DefElem), if it is given.
///
/// # Safety
/// `options` is NULL or a valid list of DefElem.
pub unsafe fn option(options: *mut pg_sys::List, name: &str) -> Option<String> {
    // SAFETY: by the caller's promise.
    unsafe {
        let given = list::iter::<pg_sys::DefElem>(options);
        let mut named = given.filter(|option| text((**option).defname).as_deref() == Some(name));
        named.next().and_then(|option| string((*option).arg))
    }
}

/// The relation that a range variable names now, if there is one. Takes no lock.
///
/// # Safety
/// `name` is a valid RangeVar.
pub unsafe fn relation(name: *const pg_sys::RangeVar) -> Option<pg_sys::Oid> {
    let no_lock = pg_sys::NoLock as pg_sys::LOCKMODE;
    let missing_ok = pg_sys::RVROption::RVR_MISSING_OK;
    // SAFETY: by the caller's promise; no callback is given.
    let oid = unsafe {
        pg_sys::RangeVarGetRelidExtended(name, no_lock, missing_ok, None, std::ptr::null_mut())
    };
    (oid != pg_sys::InvalidOid).then_some(oid)
}
