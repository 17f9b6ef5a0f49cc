//! Raises errors without losing fields on the way to the client.
//!
//! A frame guarded by pgrx keeps an error's SQLSTATE, message, detail and hint, but drops position, constraint, table
//! and context. So an [`Error`] is passed as a value to our outermost frame, an unguarded `extern "C-unwind"` function
//! without destructors, and is thrown there.

use crate::error::{Error, Fields, Result};
use pgrx::{PgLogLevel, pg_sys};
use std::cell::Cell;
use std::ffi::{CString, c_char, c_int};
use std::ptr;

unsafe extern "C-unwind" {
    // Not pgrx's binding, whose guard would catch what is thrown here.
    fn ThrowErrorData(edata: *mut pg_sys::ErrorData);
}

/// Runs `body` for PostgreSQL and throws its error, with all fields, after everything has been dropped.
///
/// # Safety
/// Only as the outermost call of an `extern "C-unwind"` function that owns nothing with a destructor.
pub unsafe fn trampoline<R: Copy>(default: R, body: impl FnOnce() -> Result<R>) -> R {
    let mut raised: *mut pg_sys::ErrorData = ptr::null_mut();
    // SAFETY: the caller's frame and this one own nothing with a destructor: `body` moves into the guard.
    let value = unsafe {
        pgrx::pg_sys::panic::pgrx_extern_c_guard(|| match body() {
            Ok(value) => value,
            Err(error) => {
                raised = error_data(&error, PgLogLevel::ERROR as c_int);
                default
            }
        })
    };
    if !raised.is_null() {
        // SAFETY: `raised` is a complete ErrorData in palloc'd memory; only plain frames lie above.
        unsafe { ThrowErrorData(raised) }
    }
    value
}

/// Raises an error from inside a guarded function, where unwinding must run destructors first. Position, context and
/// object names cannot pass the guard, and are appended to the detail.
pub fn raise_from_guarded(error: Error) -> ! {
    let fields = error.fields();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = pg_sys::errcodes::PgSqlErrorCode::from(fields.sqlstate);
    let mut report = pgrx::pg_sys::panic::ErrorReport::new(code, text(&fields.message), "helios");
    let mut detail = fields.detail.as_deref().map(text).unwrap_or_default();
    if let Some(context) = &fields.context {
        if !detail.is_empty() {
            detail.push('\n');
        }
        detail.push_str(&text(context));
    }
    if !detail.is_empty() {
        report = report.set_detail(detail);
    }
    if let Some(hint) = &fields.hint {
        report = report.set_hint(text(hint));
    }
    report.report(PgLogLevel::ERROR);
    unreachable!("an error report at level ERROR does not return")
}

/// Ends a `#[pg_extern]` function: returns the value, or raises the error.
pub trait OrRaise<T> {
    /// Returns the value, or raises the error as a PostgreSQL ERROR.
    fn or_raise(self) -> T;
}

impl<T> OrRaise<T> for Result<T> {
    fn or_raise(self) -> T {
        match self {
            Ok(value) => value,
            Err(error) => raise_from_guarded(error),
        }
    }
}

/// Runs work that may be canceled while it waits, and holds no server resources at that time; a cancellation becomes a
/// value like other errors.
pub fn catch_cancel<R>(work: impl FnOnce() -> Result<R>) -> Result<R> {
    pgrx::PgTryBuilder::new(std::panic::AssertUnwindSafe(work))
        .catch_when(pg_sys::errcodes::PgSqlErrorCode::ERRCODE_QUERY_CANCELED, |cause| {
            Err(caught(&cause))
        })
        .execute()
}

/// Converts a caught PostgreSQL error to a value; position, context and object names are lost.
pub fn caught(cause: &pg_sys::panic::CaughtError) -> Error {
    use pg_sys::panic::CaughtError;
    match cause {
        CaughtError::PostgresError(report)
        | CaughtError::ErrorReport(report)
        | CaughtError::RustPanic { ereport: report, .. } => {
            let mut error = Error::new(report.sql_error_code(), report.message());
            if let Some(detail) = report.detail() {
                error = error.detail(detail);
            }
            match report.hint() {
                Some(hint) => error.hint(hint),
                None => error,
            }
        }
    }
}

/// While one exists, notices from nodes are suppressed, because this server has already raised them.
pub struct Hush(c_int);

thread_local! {
    /// Notices below this level are suppressed.
    static HUSHED: Cell<c_int> = const { Cell::new(0) };
}

impl Hush {
    /// Starts suppressing notices; warnings too, unless the command processes rows that exist on the node only.
    pub fn begin(warnings_too: bool) -> Self {
        let warning = PgLogLevel::WARNING as c_int;
        Self(HUSHED.replace(if warnings_too { warning + 1 } else { warning }))
    }
}

impl Drop for Hush {
    fn drop(&mut self) {
        HUSHED.set(self.0);
    }
}

/// Forwards a notice or warning from a node (or of Helios itself) to the client. Never raises an error: levels from
/// ERROR up are reduced to WARNING.
pub fn notify(level: PgLogLevel, error: &Error) {
    if (level as c_int) < HUSHED.get() {
        return;
    }
    let level = (level as c_int).min(PgLogLevel::WARNING as c_int);
    // SAFETY: below ERROR, ThrowErrorData only emits; it may raise if the client is gone, hence the guard.
    unsafe {
        let data = error_data(error, level);
        pg_sys::ffi::pg_guard_ffi_boundary(|| ThrowErrorData(data));
    }
}

fn error_data(error: &Error, level: c_int) -> *mut pg_sys::ErrorData {
    let f: &Fields = error.fields();
    let text = |bytes: &Option<Vec<u8>>| match bytes {
        Some(bytes) => copy(bytes),
        None => ptr::null_mut(),
    };
    // SAFETY: palloc0 returns a zeroed ErrorData, which is a valid one; every pointer set is palloc'd.
    unsafe {
        let data = pg_sys::palloc0(size_of::<pg_sys::ErrorData>()).cast::<pg_sys::ErrorData>();
        (*data).elevel = level;
        (*data).output_to_server = true;
        (*data).output_to_client = true;
        (*data).sqlerrcode = f.sqlstate;
        (*data).message = copy(&f.message);
        (*data).detail = text(&f.detail);
        (*data).hint = text(&f.hint);
        (*data).context = text(&f.context);
        (*data).schema_name = text(&f.schema);
        (*data).table_name = text(&f.table);
        (*data).column_name = text(&f.column);
        (*data).datatype_name = text(&f.data_type);
        (*data).constraint_name = text(&f.constraint);
        (*data).cursorpos = f.position.unwrap_or(0);
        (*data).internalpos = f.internal_position.unwrap_or(0);
        (*data).internalquery = text(&f.internal_query);
        (*data).filename = text(&f.file);
        (*data).lineno = f.line.unwrap_or(0);
        (*data).funcname = text(&f.routine);
        (*data).assoc_context = pg_sys::CurrentMemoryContext;
        data
    }
}

/// Copies to a palloc'd C string; bytes after a NUL are lost.
fn copy(bytes: &[u8]) -> *mut c_char {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    let text = CString::new(&bytes[..end]).unwrap_or_default();
    // SAFETY: `text` is NUL-terminated and lives until the copy is made.
    unsafe { pg_sys::pstrdup(text.as_ptr()) }
}
