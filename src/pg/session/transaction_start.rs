//! The start time of a node's transaction is that of its coordinator's, so that now() is the same on all servers.
//!
//! The coordinator sends it right after BEGIN, as a setting of the transaction. No other code can forge now(): the setting is
//! accepted from a coordinator only, once in a transaction block, and only outside of every query.

use crate::pg::error::trampoline;
use crate::pg::session::hooked_settings::Described;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_sys::{self, errcodes::PgSqlErrorCode as Code};
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};

unsafe extern "C-unwind" {
    // Not pgrx's binding, whose guard would turn an error into a panic.
    fn GUC_check_errcode(sqlerrcode: c_int);
}

/// Decides who may set the start time.
pub trait Trusted {
    /// Whether this session comes from the server's coordinator.
    fn is_coordinators() -> bool;
    /// Whether its client claims so. The setting has no effect if that cannot be proven, for example because the server is
    /// just becoming a node.
    fn claims_to_be() -> bool;
}

const NAME: &CStr = c"helios.transaction_start";

static SETTING: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

thread_local! {
    /// The transaction that has got its start time.
    static GIVEN_TO: Cell<pg_sys::LocalTransactionId> = const { Cell::new(0) };
    /// What the check hook has accepted, for the assign hook that follows it.
    static ACCEPTED: Cell<Option<pg_sys::TimestampTz>> = const { Cell::new(None) };
}

/// Defines the setting; to be called once, from `_PG_init`.
pub fn define<T: Trusted>() {
    let Described { name, short, long } = Described {
        name: NAME,
        short: c"Set by a coordinator for each transaction on its node.",
        long: c"It is the time at which the coordinator's transaction started, in microseconds since 2000-01-01 UTC.",
    };
    let flags = GucFlags::NO_SHOW_ALL | GucFlags::NO_RESET_ALL | GucFlags::DISALLOW_IN_FILE;
    // SAFETY: the hooks are plain functions that own nothing with a destructor.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            name,
            short,
            long,
            &SETTING,
            GucContext::Userset,
            flags,
            Some(check::<T>),
            Some(assign),
            None,
        );
    }
}

/// The command for a node right after BEGIN.
pub fn command() -> Vec<u8> {
    // SAFETY: reads a variable of this backend.
    let start = unsafe { pg_sys::GetCurrentTransactionStartTimestamp() };
    format!("SET LOCAL helios.transaction_start = '{start}'").into_bytes()
}

fn local_transaction() -> pg_sys::LocalTransactionId {
    // SAFETY: a backend with a session has its PGPROC.
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    unsafe {
        (*pg_sys::MyProc).lxid
    }
    // SAFETY: as above.
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    unsafe {
        (*pg_sys::MyProc).vxid.lxid
    }
}

unsafe extern "C-unwind" fn check<T: Trusted>(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    ACCEPTED.set(None);
    // SAFETY: the server passes a valid value: null or a C string; this frame owns nothing. The message is a constant.
    unsafe {
        if (*value).is_null() || **value == 0 || pg_sys::InitializingParallelWorker {
            return true;
        }
        let text = CStr::from_ptr(*value);
        let may = source == pg_sys::GucSource::PGC_S_SESSION
            && pg_sys::IsTransactionBlock()
            && !pg_sys::ActiveSnapshotSet()
            && GIVEN_TO.get() != local_transaction()
            && T::claims_to_be();
        if may {
            let start = text.to_str().ok().and_then(|text| text.parse().ok());
            ACCEPTED.set(trampoline(None, || Ok(start.filter(|_| T::is_coordinators()))));
            return true;
        }
        GUC_check_errcode(Code::ERRCODE_INSUFFICIENT_PRIVILEGE as c_int);
        pg_sys::GUC_check_errmsg_string =
            c"permission denied to set parameter \"helios.transaction_start\"".as_ptr().cast_mut();
        false
    }
}

unsafe extern "C-unwind" fn assign(_value: *const c_char, _extra: *mut c_void) {
    let Some(start) = ACCEPTED.take() else { return };
    GIVEN_TO.set(local_transaction());
    // SAFETY: sets two variables of this backend, as a parallel worker does with those of its leader, which is all that the
    // function asks for by an assertion.
    unsafe {
        let statement = pg_sys::GetCurrentStatementStartTimestamp();
        let worker = pg_sys::ParallelWorkerNumber;
        pg_sys::ParallelWorkerNumber = 0;
        pg_sys::SetParallelStartTimestamps(start, statement);
        pg_sys::ParallelWorkerNumber = worker;
    }
}
