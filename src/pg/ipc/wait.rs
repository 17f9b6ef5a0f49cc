//! Waits for a socket together with the backend's latch and postmaster death.
//!
//! A wait event set is created once per session with a node, because setting up epoll for each wait costs more than
//! half a round trip.

use crate::error::{Error, Result};
use crate::pg::session::backend_state;
use pgrx::pg_sys;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::cell::Cell;
use std::os::fd::RawFd;
use std::ptr;
use std::time::{Duration, Instant};

/// What to wait for on the socket, besides data to read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Data to read.
    Read,
    /// Data to read, or room to write.
    ReadWrite,
    /// The end of a connection attempt.
    Connected,
}

/// Why a wait ended.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Woken {
    /// The socket is readable (or has failed).
    pub readable: bool,
    /// The socket is writable (or has failed).
    pub writable: bool,
    /// The backend's latch was set (and has been reset): process interrupts.
    pub latch: bool,
    /// The postmaster has died: exit as soon as possible.
    pub postmaster_died: bool,
}

/// A persistent wait event set: one socket, this backend's latch, postmaster death. The process does not exit
/// automatically on postmaster death, which in the middle of a commit would be a PANIC.
pub struct SocketWait {
    set: *mut pg_sys::WaitEventSet,
    interest: u32,
}

impl SocketWait {
    /// Creates a set for a socket that stays open as long as the set exists. 53000 if no file descriptor is available.
    pub fn new(fd: RawFd) -> Result<Self> {
        // SAFETY: plain calls into the server; the set is allocated in TopMemoryContext and freed by Drop.
        unsafe {
            if !pg_sys::AcquireExternalFD() {
                return Err(Error::new(
                    PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
                    "out of file descriptors for sessions with nodes",
                )
                .hint(
                    "Increase max_files_per_process and the operating system's limit on open files.",
                ));
            }
            let set = create_set_of(3);
            let interest = pg_sys::WL_SOCKET_READABLE;
            pg_sys::AddWaitEventToSet(set, interest, fd, ptr::null_mut(), ptr::null_mut());
            let latch = pg_sys::MyLatch;
            pg_sys::AddWaitEventToSet(
                set,
                pg_sys::WL_LATCH_SET,
                pg_sys::PGINVALID_SOCKET,
                latch,
                ptr::null_mut(),
            );
            pg_sys::AddWaitEventToSet(
                set,
                pg_sys::WL_POSTMASTER_DEATH,
                pg_sys::PGINVALID_SOCKET,
                ptr::null_mut(),
                ptr::null_mut(),
            );
            Ok(Self { set, interest })
        }
    }

    /// Waits for an event or the timeout (`None`: no timeout). Does not process interrupts.
    pub fn wait(&mut self, interest: Interest, timeout: Option<Duration>) -> Woken {
        let wanted = match interest {
            Interest::Read => pg_sys::WL_SOCKET_READABLE,
            Interest::ReadWrite => pg_sys::WL_SOCKET_READABLE | pg_sys::WL_SOCKET_WRITEABLE,
            Interest::Connected => pg_sys::WL_SOCKET_WRITEABLE,
        };
        // A deadline less than a millisecond away must still wait: rounding down would spin.
        let timeout = timeout
            .map_or(-1, |t| i64::try_from(t.as_millis()).unwrap_or(i64::MAX).saturating_add(1));
        // SAFETY: `set` is valid until Drop; position 0 is the socket; `events` has room for two.
        unsafe {
            if wanted != self.interest {
                pg_sys::ModifyWaitEvent(self.set, 0, wanted, ptr::null_mut());
                self.interest = wanted;
            }
            let mut events = [pg_sys::WaitEvent::default(), pg_sys::WaitEvent::default()];
            let n = pg_sys::WaitEventSetWait(
                self.set,
                timeout as _,
                events.as_mut_ptr(),
                2,
                wait_event(),
            );
            let mut woken = Woken::default();
            for event in events.iter().take(usize::try_from(n).unwrap_or(0)) {
                woken.readable |= event.events & pg_sys::WL_SOCKET_READABLE != 0;
                woken.writable |= event.events & pg_sys::WL_SOCKET_WRITEABLE != 0;
                woken.latch |= event.events & pg_sys::WL_LATCH_SET != 0;
                woken.postmaster_died |= event.events & pg_sys::WL_POSTMASTER_DEATH != 0;
            }
            if woken.latch {
                pg_sys::ResetLatch(pg_sys::MyLatch);
            }
            woken
        }
    }
}

impl Drop for SocketWait {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once.
        unsafe {
            pg_sys::FreeWaitEventSet(self.set);
            pg_sys::ReleaseExternalFD();
        }
    }
}

/// Waits until one of the sockets is readable, or the timeout. For rare waits, because the set is created each time.
/// Processes interrupts.
pub fn for_any(sockets: &[RawFd], time: Duration) {
    const NOTHING: *mut std::ffi::c_void = ptr::null_mut();
    let events = i32::try_from(sockets.len() + 2).unwrap_or(i32::MAX);
    let time = i64::try_from(time.as_millis()).unwrap_or(i64::MAX).saturating_add(1);
    // SAFETY: plain calls into the server; the set is freed before anything can be raised.
    let woken = unsafe {
        let set = create_set_of(events);
        for &socket in sockets {
            pg_sys::AddWaitEventToSet(
                set,
                pg_sys::WL_SOCKET_READABLE,
                socket,
                ptr::null_mut(),
                NOTHING,
            );
        }
        let none = pg_sys::PGINVALID_SOCKET;
        pg_sys::AddWaitEventToSet(set, pg_sys::WL_LATCH_SET, none, pg_sys::MyLatch, NOTHING);
        pg_sys::AddWaitEventToSet(set, pg_sys::WL_EXIT_ON_PM_DEATH, none, ptr::null_mut(), NOTHING);
        let mut event = pg_sys::WaitEvent::default();
        let n = pg_sys::WaitEventSetWait(set, time as _, &mut event, 1, wait_event());
        pg_sys::FreeWaitEventSet(set);
        n > 0 && event.events & pg_sys::WL_LATCH_SET != 0
    };
    if woken {
        // SAFETY: MyLatch is valid throughout the life of the backend.
        unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
    }
    check_for_interrupts();
}

#[cfg(any(feature = "pg15", feature = "pg16"))]
unsafe fn create_set_of(events: i32) -> *mut pg_sys::WaitEventSet {
    // SAFETY: TopMemoryContext outlives the set.
    unsafe { pg_sys::CreateWaitEventSet(pg_sys::TopMemoryContext, events) }
}

#[cfg(not(any(feature = "pg15", feature = "pg16")))]
unsafe fn create_set_of(events: i32) -> *mut pg_sys::WaitEventSet {
    // SAFETY: without a resource owner the set lives until it is freed.
    unsafe { pg_sys::CreateWaitEventSet(ptr::null_mut(), events) }
}

/// Wait event shown in `pg_stat_activity` while a backend waits for a node.
#[cfg(any(feature = "pg15", feature = "pg16"))]
fn wait_event() -> u32 {
    pg_sys::PG_WAIT_EXTENSION
}

/// What `pg_stat_activity` shows while a backend waits for a node.
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
fn wait_event() -> u32 {
    thread_local!(static EVENT: Cell<u32> = const { Cell::new(0) });
    EVENT.with(|event| {
        if event.get() == 0 {
            // SAFETY: the name is a constant C string; the server keeps its own copy.
            event.set(unsafe { pg_sys::WaitEventExtensionNew(c"HeliosNode".as_ptr()) });
        }
        event.get()
    })
}

/// Sleeps; processes interrupts.
pub fn sleep(time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
        check_for_interrupts();
    }
}

/// Processes pending interrupts: cancellation, termination, timeouts. Unwinds as a PostgreSQL error.
pub fn check_for_interrupts() {
    interrupted_at(); // what ends the transaction behind it has to know
    pgrx::check_for_interrupts!();
}

/// Exits because the postmaster has died, like every wait of the server.
pub fn exit_with_postmaster() -> ! {
    unsafe extern "C-unwind" {
        // Not pgrx's binding, which declares only for some versions that it does not return.
        fn proc_exit(code: std::ffi::c_int) -> !;
    }
    // SAFETY: runs the exit callbacks and does not return.
    unsafe { proc_exit(1) }
}

/// Whether this process is exiting, on top of whatever it was doing.
pub fn process_exits() -> bool {
    // SAFETY: reads a static.
    unsafe { pg_sys::proc_exit_inprogress }
}

/// Whether cancellation (by the client or a timeout) or termination is pending.
pub fn interrupt_pending() -> bool {
    // SAFETY: flags that signal handlers set; a stale value is seen at the next wake-up.
    unsafe {
        (&raw const pg_sys::QueryCancelPending).read_volatile() != 0
            || (&raw const pg_sys::ProcDiePending).read_volatile() != 0
            || transaction_timeout_pending()
    }
}

#[cfg(any(feature = "pg15", feature = "pg16"))]
fn transaction_timeout_pending() -> bool {
    false
}

#[cfg(not(any(feature = "pg15", feature = "pg16")))]
fn transaction_timeout_pending() -> bool {
    // SAFETY: a flag that a signal handler sets.
    unsafe { (&raw const pg_sys::TransactionTimeoutPending).read_volatile() != 0 }
}

/// How long a node may still take after the client's statement is to end: a cancellation or timeout is effective within
/// a second, even if the node never responds.
const GRACE: Duration = Duration::from_millis(800);

thread_local! {
    /// The interrupted statement (identified by its start), and when that was noticed.
    static INTERRUPTED: Cell<Option<(i64, Instant)>> = const { Cell::new(None) };
}

/// When the client's current statement was interrupted, if it was.
fn interrupted_at() -> Option<Instant> {
    let statement = statement_start();
    if let Some((of, at)) = INTERRUPTED.get()
        && of == statement
    {
        return Some(at);
    }
    if !interrupt_pending() && !process_exits() {
        return None;
    }
    let now = Instant::now();
    INTERRUPTED.set(Some((statement, now)));
    Some(now)
}

/// Called when a request begins: an earlier interrupt that was caught does not concern it.
#[inline]
pub fn forget_interrupt() {
    INTERRUPTED.set(None);
}

/// When the `statement_timeout` of the client's current statement expires. The server's own timer is disabled when a
/// transaction begins to commit, which on one server takes no time.
fn statement_timeout_at() -> Option<Instant> {
    // SAFETY: reads statics and the clock.
    let (limit, now) = unsafe { (pg_sys::StatementTimeout, backend_state::GetCurrentTimestamp()) };
    if limit <= 0 || !crate::pg::session::client::has_client() {
        return None;
    }
    let left = i64::from(limit) * 1000 - (now - statement_start());
    let distance = Duration::from_micros(left.unsigned_abs());
    let here = Instant::now();
    if left > 0 { here.checked_add(distance) } else { here.checked_sub(distance).or(Some(here)) }
}

/// When the client's current statement is (or was) to end, where interrupts are not processed: because of an interrupt
/// or its timeout. None if there is neither.
pub fn due() -> Option<Instant> {
    interrupted_at().or_else(statement_timeout_at)
}

/// When to abandon a wait for a node after the client's statement was [`due`].
pub fn last_moment(due: Instant) -> Instant {
    due + GRACE
}

/// The deadline of a wait that does not process interrupts: `until`, or shortly after the statement was due.
pub fn bounded(until: Instant) -> Instant {
    due().map_or(until, |due| until.min(last_moment(due)))
}

/// Called when a node reports that it has canceled, and undone, our statement. Raises the local reason, if there is
/// one; otherwise returns the error to be reported.
pub fn explain_cancel(error: Error) -> Error {
    if interrupt_pending() {
        release_cancels();
        check_for_interrupts();
    }
    match statement_timeout_at() {
        Some(at) if at <= Instant::now() => Error::new(
            PgSqlErrorCode::ERRCODE_QUERY_CANCELED,
            "canceling statement due to statement timeout",
        ),
        _ => error,
    }
}

thread_local!(static OWED: Cell<bool> = const { Cell::new(false) });

/// Records that a wait has consumed a latch event on which it could not act; [`pay_latch`] sets the latch again.
pub fn owe_latch() {
    OWED.set(true);
}

/// Sets the latch again if events were consumed, at the end of work that could not process interrupts.
pub fn pay_latch() {
    if OWED.replace(false) {
        // SAFETY: MyLatch is valid throughout the life of the backend.
        unsafe { pg_sys::SetLatch(pg_sys::MyLatch) }
    }
}

/// Runs something short with interrupts held off; it must not raise errors.
pub fn hold_interrupts(work: impl FnOnce()) {
    // SAFETY: counters of this process, as HOLD_INTERRUPTS and RESUME_INTERRUPTS change them. Were an error raised
    // after all, it would reset them.
    unsafe { pg_sys::InterruptHoldoffCount += 1 };
    work();
    // SAFETY: as above.
    unsafe { pg_sys::InterruptHoldoffCount -= 1 };
}

thread_local!(static CANCELS_HELD: Cell<bool> = const { Cell::new(false) });

/// Ignores cancel requests until [`transaction_ended`], because the outcome has been decided. One that arrives in
/// between finds the backend waiting for its next command, and is ignored there.
pub fn hold_cancels() {
    if !CANCELS_HELD.replace(true) {
        // SAFETY: a counter of this process, as HOLD_CANCEL_INTERRUPTS changes it.
        unsafe { pg_sys::QueryCancelHoldoffCount += 1 };
    }
}

/// Nothing was decided after all: cancel requests are processed again.
fn release_cancels() {
    transaction_ended(true);
}

/// Called at the end of the local transaction; an error that aborted it has reset the hold-off counter.
pub fn transaction_ended(committed: bool) {
    if CANCELS_HELD.replace(false) && committed {
        // SAFETY: a counter of this process, as RESUME_CANCEL_INTERRUPTS changes it.
        unsafe {
            pg_sys::QueryCancelHoldoffCount = pg_sys::QueryCancelHoldoffCount.saturating_sub(1);
        }
    }
}

/// Start of the client's current statement in microseconds since 2000, without a system call.
pub fn statement_start() -> i64 {
    backend_state::GetCurrentStatementStartTimestamp()
}
