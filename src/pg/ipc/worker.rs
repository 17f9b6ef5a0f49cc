//! Background workers: their start, their signals, their transactions.
//!
//! A worker's process ends by `die`, like a backend: it stops at the next interrupt check, also in the middle of a wait
//! for a node.

use crate::error::Result;
use crate::pg::session::backend_state;
use pgrx::prelude::*;
use std::ffi::{CStr, c_char, c_int};
use std::ptr;
use std::time::Duration;

/// Registers the launcher; once, from `_PG_init` in the postmaster.
pub fn install() {
    let mut worker = description(c"helios launcher", c"helios_launcher_main");
    worker.bgw_restart_time = 10;
    // SAFETY: the server copies the description.
    unsafe { pg_sys::RegisterBackgroundWorker(&mut worker) }
}

/// Whether this process applies what a subscription receives.
pub fn applies_changes() -> bool {
    backend_state::IsLogicalWorker()
}

fn description(name: &CStr, function: &CStr) -> pg_sys::BackgroundWorker {
    let mut worker = pg_sys::BackgroundWorker::default();
    copy(&mut worker.bgw_name, name);
    copy(&mut worker.bgw_type, name);
    copy(&mut worker.bgw_library_name, c"helios");
    copy(&mut worker.bgw_function_name, function);
    worker.bgw_flags =
        (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION) as c_int;
    worker.bgw_start_time = pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished;
    worker.bgw_restart_time = pg_sys::BGW_NEVER_RESTART;
    worker
}

fn copy(to: &mut [c_char], text: &CStr) {
    for (to, &from) in to.iter_mut().zip(text.to_bytes_with_nul()) {
        *to = from as c_char;
    }
}

/// A worker that was started and may still run.
pub struct Running {
    handle: *mut pg_sys::BackgroundWorkerHandle,
}

/// What a migration's worker has to know: its migration, and the role that it works as.
#[derive(Clone, Copy, Debug)]
pub struct MigrationWork {
    /// The database that has the migration.
    pub database: u32,
    /// The migration's number.
    pub migration: i64,
    /// Owner of the catalogs.
    pub role: u32,
}

/// In the place of a migration's number: the worker that follows copies in step.
pub const REPLICAS: i64 = 0;

impl Running {
    /// Starts the worker of a database; None when the server has no slot left for one.
    pub fn start(database: u32) -> Option<Self> {
        let mut worker = description(c"helios worker", c"helios_worker_main");
        worker.bgw_main_arg = pg_sys::Datum::from(database);
        Self::register(worker)
    }

    /// Starts the worker of a migration, or of all copies in step; None when the server has no slot left for one.
    pub fn start_migration(work: MigrationWork) -> Option<Self> {
        let name = match work.migration {
            REPLICAS => "helios replicas".to_owned(),
            number => format!("helios migration {number}"),
        };
        let name = std::ffi::CString::new(name);
        let mut worker = description(c"helios migration", c"helios_migration_main");
        copy(&mut worker.bgw_name, &name.unwrap_or_default());
        worker.bgw_main_arg = pg_sys::Datum::from(work.database);
        let extra = work.migration.to_ne_bytes().into_iter().chain(work.role.to_ne_bytes());
        for (to, from) in worker.bgw_extra.iter_mut().zip(extra) {
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

    /// Whether it has not ended yet.
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

/// Waits for the latch or the time; raises what is pending (which ends a terminated worker) and rereads the
/// configuration when asked to.
pub fn rest(time: Duration) {
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

/// Whoever is in a transaction already would have its memory freed under his feet.
fn require_no_transaction() {
    // SAFETY: reads a variable of this backend.
    assert!(!unsafe { pg_sys::IsTransactionState() }, "a worker's transaction within another one");
}

/// Runs work in a transaction of its own. An error is raised after the transaction was rolled back, and ends the
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

/// As [`in_transaction`]; the transaction is rolled back if the work fails, with an error of ours or of
/// PostgreSQL's, and the worker goes on. Only a request to end is not caught.
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
        // SAFETY: ends whatever the failure left of the transaction; nothing where nothing is left.
        unsafe { pg_sys::AbortCurrentTransaction() }
    }
    result
}

unsafe extern "C-unwind" {
    // Not the bindings of pgrx: these are installed as signal handlers, where its guards have no business.
    fn die(signal: c_int);
    fn SignalHandlerForConfigReload(signal: c_int);
}

#[cfg(not(feature = "pg18"))]
use pg_sys::pqsignal;
#[cfg(feature = "pg18")]
use pg_sys::pqsignal_be as pqsignal;

/// Ready for signals, connected to a database (or to none, for the shared catalogs).
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
                // A role or database that only reads by default does not mean Helios' own work; and the owner of a
                // database, who can set its search path, is no superuser.
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

/// Those of databases and roles that workers would obey: they are meant for clients.
#[cfg(any(feature = "pg15", feature = "pg16"))]
const TIMEOUTS: [&CStr; 1] = [c"lock_timeout"];
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
const TIMEOUTS: [&CStr; 2] = [c"lock_timeout", c"transaction_timeout"];

/// What the background workers do.
pub trait WorkerHooks {
    /// The launcher, connected to no database; does not return.
    fn launcher();
    /// A database's worker, connected to it; its process ends when it returns.
    fn database_worker(database: u32);
    /// A migration's worker, connected to its database; its process ends when it returns.
    fn migration_worker(work: MigrationWork);
}

/// Main function of the launcher.
///
/// # Safety
/// Called by the server at the start of a background worker's process, from a frame that owns nothing with a destructor.
pub unsafe fn launcher<H: WorkerHooks>(_none: pg_sys::Datum) {
    // SAFETY: by the caller's promise.
    unsafe {
        guarded(|| {
            begin(None, 0);
            H::launcher();
        });
    }
}

/// Main function of a database's worker.
///
/// # Safety
/// As [`launcher`].
pub unsafe fn database_worker<H: WorkerHooks>(database: pg_sys::Datum) {
    let database = database.value() as u32;
    // SAFETY: by the caller's promise.
    unsafe {
        guarded(|| {
            begin(Some(database), 0);
            H::database_worker(database);
        });
    }
}

/// Main function of a migration's worker.
///
/// # Safety
/// As [`launcher`].
pub unsafe fn migration_worker<H: WorkerHooks>(database: pg_sys::Datum) {
    // SAFETY: set in every background worker before its main function runs.
    let extra = unsafe { (*pg_sys::MyBgworkerEntry).bgw_extra }.map(|byte| byte as u8);
    let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = extra;
    let migration = i64::from_ne_bytes([a, b, c, d, e, f, g, h]);
    let role = u32::from_ne_bytes([i, j, k, l]);
    let database = database.value() as u32;
    // SAFETY: by the caller's promise.
    unsafe {
        guarded(|| {
            begin(Some(database), role);
            H::migration_worker(MigrationWork { database, migration, role });
        });
    }
}

/// # Safety
/// Only as the outermost call of a function that owns nothing with a destructor.
unsafe fn guarded(main: impl FnOnce()) {
    // SAFETY: by the caller's promise.
    unsafe { pgrx::pg_sys::panic::pgrx_extern_c_guard(std::panic::AssertUnwindSafe(main)) }
}
