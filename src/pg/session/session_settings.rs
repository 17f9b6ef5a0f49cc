//! Settings that say what a session is for. A client reaches none of them: it cannot set them, or what it sets proves
//! nothing.

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_sys::{self, errcodes::PgSqlErrorCode as Code};
use std::ffi::{CStr, CString, c_char, c_int, c_void};

/// Whether this session is a migration's: it works on this server's own tables, whatever the directory says of them.
pub static MIGRATION_SESSION: GucSetting<bool> = GucSetting::<bool>::new(false);
/// What a coordinator proves itself by to its node; see `catalog::proof`.
static COORDINATOR_PROOF: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// Whether the client of the coordinator that this session works for has logged in there as another role.
static OTHER_LOGIN: GucSetting<bool> = GucSetting::<bool>::new(false);

/// Name of the setting that says so in the start-up message of a session.
pub const OTHER_LOGIN_NAME: &str = "helios.other_login";

unsafe extern "C-unwind" {
    // Not the bindings of pgrx: their guards would turn an error into a panic, which cannot pass the server's frames.
    fn superuser() -> bool;
    fn GUC_check_errcode(sqlerrcode: c_int);
}

/// Makes the settings known. Called once, from `_PG_init`.
pub fn register() {
    // SAFETY: the hooks are plain functions that own nothing with a destructor.
    unsafe {
        GucRegistry::define_bool_guc_with_hooks(
            c"helios.migration_session",
            c"Set by a migration for its sessions to nodes.",
            c"Statements run on this server's own tables, shells and fenced schemas included; nothing is sent to nodes.",
            &MIGRATION_SESSION,
            GucContext::Suset,
            GucFlags::NO_SHOW_ALL | GucFlags::DISALLOW_IN_FILE,
            Some(superusers_only),
            None,
            None,
        );
        GucRegistry::define_bool_guc(
            c"helios.other_login",
            c"Set by a coordinator for a session that code runs in as its owner.",
            c"Statements that read session_user are refused in it: the client's login is another one.",
            &OTHER_LOGIN,
            GucContext::Backend,
            GucFlags::NO_SHOW_ALL | GucFlags::DISALLOW_IN_FILE,
        );
        GucRegistry::define_string_guc_with_hooks(
            c"helios.coordinator_proof",
            c"Given by a coordinator when it connects to its node.",
            c"Nobody can set it later, and it is never shown.",
            &COORDINATOR_PROOF,
            GucContext::Backend,
            GucFlags::NO_SHOW_ALL | GucFlags::DISALLOW_IN_FILE | GucFlags::SUPERUSER_ONLY,
            None,
            None,
            Some(nothing),
        );
    }
}

/// Whether `session_user` is not the client's login here.
#[inline]
pub fn has_other_login() -> bool {
    OTHER_LOGIN.get()
}

/// Whether the client has given a proof, be it right or wrong.
#[inline]
pub fn claims_to_be_coordinators() -> bool {
    // SAFETY: null or a C string of the server's; it changes only when the session begins.
    unsafe {
        let text = *COORDINATOR_PROOF.as_ptr();
        !text.is_null() && *text != 0
    }
}

/// The proof that this session's client gave when it connected, with the role name that it logged in as.
pub fn coordinator_proof() -> Option<(String, String)> {
    let proof = COORDINATOR_PROOF.get().filter(|proof| !proof.is_empty())?;
    // SAFETY: the result is NULL, for a role that is gone, or a palloc'd C string.
    let role = unsafe {
        let name = pg_sys::GetUserNameFromId(pg_sys::GetAuthenticatedUserId(), true);
        if name.is_null() {
            return None;
        }
        CStr::from_ptr(name)
    };
    Some((proof.into_string().ok()?, role.to_str().ok()?.to_owned()))
}

/// Neither GRANT SET ON PARAMETER nor ALTER ROLE … SET hands it to somebody else.
unsafe extern "C-unwind" fn superusers_only(
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
        pg_sys::GUC_check_errmsg_string =
            c"permission denied to set parameter \"helios.migration_session\"".as_ptr().cast_mut();
        false
    }
}

unsafe extern "C-unwind" fn nothing() -> *const c_char {
    c"".as_ptr()
}
