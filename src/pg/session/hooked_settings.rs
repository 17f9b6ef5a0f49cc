//! Settings with hooks of their own, which PostgreSQL calls when somebody sets or shows them.

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_sys::{self, errcodes::PgSqlErrorCode as Code};
use std::ffi::{CStr, CString, c_char, c_int, c_void};

unsafe extern "C-unwind" {
    // Not the bindings of pgrx: their guards would turn an error into a panic, which cannot pass the server's frames.
    fn superuser() -> bool;
    fn GUC_check_errcode(sqlerrcode: c_int);
}

/// Name and descriptions of a setting, as its definition takes them.
pub struct Described {
    /// Its name.
    pub name: &'static CStr,
    /// One sentence.
    pub short: &'static CStr,
    /// Further ones, or nothing.
    pub long: &'static CStr,
}

/// A switch that superusers alone may turn on: neither GRANT SET ON PARAMETER nor ALTER ROLE … SET hands it to somebody else.
pub trait SuperusersSwitch {
    /// What the setting is called.
    const DESCRIBED: Described;
    /// The message for whoever is no superuser (42501).
    const REFUSAL: &'static CStr;
}

/// Defines such a switch, which is off at first; once, from `_PG_init`.
pub fn define_switch<S: SuperusersSwitch>(setting: &'static GucSetting<bool>, flags: GucFlags) {
    let Described { name, short, long } = S::DESCRIBED;
    // SAFETY: the hook is a plain function that owns nothing with a destructor.
    unsafe {
        GucRegistry::define_bool_guc_with_hooks(
            name,
            short,
            long,
            setting,
            GucContext::Suset,
            flags,
            Some(superusers_only::<S>),
            None,
            None,
        );
    }
}

/// Defines a text that a client gives when it connects, and that is never shown; once, from `_PG_init`.
pub fn define_secret(
    described: Described,
    setting: &'static GucSetting<Option<CString>>,
    flags: GucFlags,
) {
    let Described { name, short, long } = described;
    // SAFETY: as in `define_switch`.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            name,
            short,
            long,
            setting,
            GucContext::Backend,
            flags,
            None,
            None,
            Some(nothing),
        );
    }
}

/// Whether the setting has a text that is not empty; takes no copy of it.
#[inline]
pub fn is_given(setting: &'static GucSetting<Option<CString>>) -> bool {
    // SAFETY: null or a C string of the server's, which nobody changes meanwhile: this process has one thread.
    unsafe {
        let text = *setting.as_ptr();
        !text.is_null() && *text != 0
    }
}

unsafe extern "C-unwind" fn superusers_only<S: SuperusersSwitch>(
    value: *mut bool,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: the server gives a valid value. Outside of a transaction only the server's own command line and files
    // speak; a parallel worker repeats what its leader was allowed. The message is a constant.
    unsafe {
        if !*value
            || pg_sys::InitializingParallelWorker
            || !pg_sys::IsTransactionState()
            || superuser()
        {
            return true;
        }
        GUC_check_errcode(Code::ERRCODE_INSUFFICIENT_PRIVILEGE as c_int);
        pg_sys::GUC_check_errmsg_string = S::REFUSAL.as_ptr().cast_mut();
        false
    }
}

unsafe extern "C-unwind" fn nothing() -> *const c_char {
    c"".as_ptr()
}
