//! Settings with check, assign or show hooks.

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_sys::{self, errcodes::PgSqlErrorCode as Code};
use std::ffi::{CStr, CString, c_char, c_int, c_void};

unsafe extern "C-unwind" {
    // Do not use pgrx's bindings: their guards would turn an error into a panic, which cannot cross the server's frames.
    fn superuser() -> bool;
    fn GUC_check_errcode(sqlerrcode: c_int);
}

/// Name and descriptions of a setting, in the form its definition requires.
pub struct Described {
    /// Setting name.
    pub name: &'static CStr,
    /// Short description: one sentence.
    pub short: &'static CStr,
    /// Long description, or empty.
    pub long: &'static CStr,
}

/// A boolean setting that only superusers can turn on: neither GRANT SET ON PARAMETER nor ALTER ROLE … SET gives it to
/// other roles.
pub trait SuperusersSwitch {
    /// Name and descriptions.
    const DESCRIBED: Described;
    /// The error message for other roles (42501).
    const REFUSAL: &'static CStr;
}

/// Defines such a setting, off by default; to be called once, from `_PG_init`.
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

/// Defines a string setting that a client supplies when connecting, and that is never shown; to be called once, from
/// `_PG_init`.
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

/// Whether the setting is a nonempty string; does not copy it.
#[inline]
pub fn is_given(setting: &'static GucSetting<Option<CString>>) -> bool {
    // SAFETY: null or a C string of the server's, which does not change in the meantime: this process has one thread.
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
    // SAFETY: the server passes a valid value. Outside of a transaction, the value comes from the server's command line or
    // configuration files; a parallel worker restores its leader's value. The message is a constant.
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
