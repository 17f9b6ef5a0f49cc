//! Background workers: start, signals, transactions.
//!
//! A worker exits by `die`, like a backend: at the next interrupt check, also during a wait for a node.

use crate::error::Result;
use crate::pg::session::backend_state;
use pgrx::prelude::*;
use std::ffi::{CStr, c_char, c_int};
use std::ptr;
use std::time::Duration;

/// A kind of background worker.
pub struct Kind {
    /// Name in the server's log and in `pg_stat_activity.backend_type`.
    pub name: &'static CStr,
    /// The library that contains its main function.
    pub library: &'static CStr,
    /// The symbol of its main function, which must call [`server_worker`] or [`database_worker`].
    pub main: &'static CStr,
}

/// Registers a worker without a database connection that runs for the server's lifetime and is restarted ten seconds after a
/// failure; to be called once, from `_PG_init` in the postmaster.
pub fn install(kind: &Kind) {
    let mut worker = description(kind);
    worker.bgw_restart_time = 10;
    // SAFETY: the server copies the description.
    unsafe { pg_sys::RegisterBackgroundWorker(&mut worker) }
}

/// Whether this process is an apply worker of a subscription.
pub fn applies_changes() -> bool {
    backend_state::IsLogicalWorker()
}

fn description(kind: &Kind) -> pg_sys::BackgroundWorker {
    let mut worker = pg_sys::BackgroundWorker::default();
    copy(&mut worker.bgw_name, kind.name);
    copy(&mut worker.bgw_type, kind.name);
    copy(&mut worker.bgw_library_name, kind.library);
    copy(&mut worker.bgw_function_name, kind.main);
    worker.bgw_flags =
        (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION) as c_int;
    worker.bgw_start_time = pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished;
    worker.bgw_restart_time = pg_sys::BGW_NEVER_RESTART;
    worker
}

/// Copies a string, truncated to the space available.
fn copy(to: &mut [c_char], text: &CStr) {
    let Some(room) = to.len().checked_sub(1) else { return };
    let bytes = text.to_bytes();
    let bytes = &bytes[..bytes.len().min(room)];
    to.fill(0);
    for (to, &from) in to.iter_mut().zip(bytes) {
        *to = from as c_char;
    }
}

/// A worker that was started and may still be running.
pub struct Running {
    handle: *mut pg_sys::BackgroundWorkerHandle,
}

/// Start parameters of a worker that is connected to a database.
#[derive(Clone, Copy, Debug)]
pub struct Assignment {
    /// The database.
    pub database: u32,
    /// The role it runs as; 0 is the bootstrap superuser.
    pub role: u32,
    /// Its task.
    pub task: i64,
}

impl Assignment {
    fn to_bytes(self) -> [u8; 12] {
        let ([a, b, c, d, e, f, g, h], [i, j, k, l]) =
            (self.task.to_ne_bytes(), self.role.to_ne_bytes());
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }

    fn from_bytes(database: u32, bytes: [u8; 12]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        let task = i64::from_ne_bytes([a, b, c, d, e, f, g, h]);
        Self { database, role: u32::from_ne_bytes([i, j, k, l]), task }
    }
}

impl Running {
    /// Starts a worker that is connected to a database, with an individual name; returns `None` if the server has no free
    /// worker slot.
    pub fn start(kind: &Kind, name: &CStr, assignment: Assignment) -> Option<Self> {
        let mut worker = description(kind);
        copy(&mut worker.bgw_name, name);
        worker.bgw_main_arg = pg_sys::Datum::from(assignment.database);
        for (to, from) in worker.bgw_extra.iter_mut().zip(assignment.to_bytes()) {
            *to = from as c_char;
        }
        Self::register(worker)
    }

    fn register(mut worker: pg_sys::BackgroundWorker) -> Option<Self> {
        let mut handle = ptr::null_mut();
        // SAFETY: the server copies the description; the handle is palloc'd, here in TopMemoryContext.
        let started = unsafe {
            worker.bgw_notify_pid = pg_sys::MyProcPid;
            let old = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
            let started = pg_sys::RegisterDynamicBackgroundWorker(&mut worker, &mut handle);
            pg_sys::MemoryContextSwitchTo(old);
            started
        };
        started.then_some(Self { handle })
    }

    /// Whether it is still running.
    pub fn is_alive(&self) -> bool {
        let mut pid = 0;
        // SAFETY: the handle is valid until Drop.
        let status = unsafe { pg_sys::GetBackgroundWorkerPid(self.handle, &mut pid) };
        status != pg_sys::BgwHandleStatus::BGWH_STOPPED
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SAFETY: palloc'd by the server for us.
        unsafe { pg_sys::pfree(self.handle.cast()) }
    }
}

/// Waits for the latch or the timeout; processes interrupts (a terminated worker exits) and reloads the configuration
/// if requested.
pub fn sleep(time: Duration) {
    // SAFETY: plain calls of a worker's main loop.
    unsafe {
        let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
        let time = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        pg_sys::WaitLatch(pg_sys::MyLatch, events as c_int, time, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(pg_sys::MyLatch);
        pgrx::check_for_interrupts!();
        if (&raw const pg_sys::ConfigReloadPending).read_volatile() != 0 {
            (&raw mut pg_sys::ConfigReloadPending).write_volatile(0);
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}

/// A transaction that is already in progress would lose its memory.
fn require_no_transaction() {
    // SAFETY: reads a variable of this backend.
    assert!(!unsafe { pg_sys::IsTransactionState() }, "nested transaction in a background worker");
}

/// Runs work in a separate transaction. An error is raised after the transaction was rolled back, and terminates the
/// worker.
pub fn in_transaction<R>(work: impl FnOnce() -> R) -> R {
    require_no_transaction();
    // SAFETY: a worker is outside any transaction here; an error unwinds to the worker's main function, and the
    // process ends, which rolls back.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        let result = work();
        pg_sys::PopActiveSnapshot();
        pg_sys::CommitTransactionCommand();
        result
    }
}

/// Like [`in_transaction`], but if the work fails, with our own error or one of PostgreSQL's, the transaction is rolled
/// back and the worker continues. Only termination is not caught.
pub fn attempt<R>(work: impl FnOnce() -> Result<R>) -> Result<R> {
    require_no_transaction();
    // SAFETY: as in `in_transaction`; what a failure leaves is rolled back below.
    let transaction = std::panic::AssertUnwindSafe(|| unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        let result = work()?;
        pg_sys::PopActiveSnapshot();
        pg_sys::CommitTransactionCommand();
        Ok(result)
    });
    let result = pgrx::PgTryBuilder::new(transaction)
        .catch_others(|cause| Err(crate::pg::error::caught(&cause)))
        .execute();
    if result.is_err() {
        // SAFETY: cleans up after the failed transaction; does nothing if there is none.
        unsafe { pg_sys::AbortCurrentTransaction() }
    }
    result
}

unsafe extern "C-unwind" {
    // Not pgrx's bindings: these functions are installed as signal handlers, which must not be guarded.
    fn die(signal: c_int);
    fn SignalHandlerForConfigReload(signal: c_int);
}

#[cfg(not(feature = "pg18"))]
use pg_sys::pqsignal;
#[cfg(feature = "pg18")]
use pg_sys::pqsignal_be as pqsignal;

/// Sets up signals and connects to a database (or to none, for shared catalogs).
fn begin(database: Option<u32>, role: u32) {
    // SAFETY: the first calls of a background worker's main function, in the order that the server asks for.
    unsafe {
        pqsignal(pg_sys::SIGTERM as c_int, Some(die));
        pqsignal(pg_sys::SIGHUP as c_int, Some(SignalHandlerForConfigReload));
        pg_sys::BackgroundWorkerUnblockSignals();
        match database {
            None => pg_sys::BackgroundWorkerInitializeConnection(ptr::null(), ptr::null(), 0),
            Some(database) => {
                pg_sys::BackgroundWorkerInitializeConnectionByOid(database.into(), role.into(), 0);
                // default_transaction_read_only of a role or database must not affect the extension's own work; and the
                // owner of a database, who can set its search_path, is not a superuser.
                let settings = TIMEOUTS.iter().map(|setting| (*setting, c"0"));
                let own = [
                    (c"default_transaction_read_only", c"off"),
                    (c"search_path", c"pg_catalog, pg_temp"),
                ];
                for (setting, value) in settings.chain(own) {
                    pg_sys::SetConfigOption(
                        setting.as_ptr(),
                        value.as_ptr(),
                        pg_sys::GucContext::PGC_USERSET,
                        pg_sys::GucSource::PGC_S_OVERRIDE,
                    );
                }
            }
        }
    }
}

/// Settings of databases and roles that are meant for clients and would affect workers.
#[cfg(any(feature = "pg15", feature = "pg16"))]
const TIMEOUTS: [&CStr; 1] = [c"lock_timeout"];
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
const TIMEOUTS: [&CStr; 2] = [c"lock_timeout", c"transaction_timeout"];

/// A worker without a database connection.
pub trait ServerWorker {
    /// Does not return.
    fn run();
}

/// A worker that is connected to a database.
pub trait DatabaseWorker {
    /// The process exits when it returns.
    fn run(assignment: Assignment);
}

/// Main function of a worker without a database connection.
///
/// # Safety
/// Called by the server at the start of a background worker's process, from a frame that owns nothing with a destructor.
pub unsafe fn server_worker<W: ServerWorker>(_none: pg_sys::Datum) {
    // SAFETY: by the caller's promise.
    unsafe {
        guarded(|| {
            begin(None, 0);
            W::run();
        });
    }
}

/// Main function of a worker that is connected to a database.
///
/// # Safety
/// Like [`server_worker`], for a worker started by [`Running::start`].
pub unsafe fn database_worker<W: DatabaseWorker>(database: pg_sys::Datum) {
    // SAFETY: set in every background worker before its main function runs.
    let extra = unsafe { (*pg_sys::MyBgworkerEntry).bgw_extra };
    let bytes = std::array::from_fn(|i| extra[i] as u8);
    let assignment = Assignment::from_bytes(database.value() as u32, bytes);
    // SAFETY: by the caller's promise.
    unsafe {
        guarded(|| {
            begin(Some(assignment.database), assignment.role);
            W::run(assignment);
        });
    }
}

/// # Safety
/// Only as the outermost call of a function that owns nothing with a destructor.
unsafe fn guarded(main: impl FnOnce()) {
    // SAFETY: by the caller's promise.
    unsafe { pgrx::pg_sys::panic::pgrx_extern_c_guard(std::panic::AssertUnwindSafe(main)) }
}
