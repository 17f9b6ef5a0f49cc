//! This process and others of the server: ids, latches, signals, and what to do at the end of a process.

use pgrx::pg_sys;
use std::ffi::c_int;

/// Id of this process.
pub fn own_id() -> i32 {
    // SAFETY: set once at the start of the process.
    unsafe { pg_sys::MyProcPid }
}

/// Wakes a process of this server, if it is still there.
pub fn set_latch(pid: i32) {
    // SAFETY: the entry of the process array stays valid memory when the process ends; a latch set too often is
    // harmless.
    unsafe {
        let process = pg_sys::BackendPidGetProc(pid);
        if !process.is_null() {
            pg_sys::SetLatch(&raw mut (*process).procLatch);
        }
    }
}

/// Asks a process to end (SIGTERM), as `pg_terminate_backend()` does.
pub fn terminate(pid: i32) {
    if pid > 1 {
        // SAFETY: a system call without pointers.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }
}

/// Ends this process at once, as if by somebody's `kill -9`.
#[cfg(feature = "failpoints")]
pub fn die() {
    // SAFETY: plain system calls; this process ends with the first.
    unsafe {
        libc::kill(libc::getpid(), libc::SIGKILL);
        libc::pause();
    }
}

/// Calls `run` with the exit code when this process ends, while it can still use shared memory. It must not raise. To be
/// called seldom: each call needs a place in a short list of the server's.
pub fn at_exit(run: fn(c_int)) {
    // SAFETY: the callback lives as long as the process, and its argument is the function.
    unsafe { pg_sys::before_shmem_exit(Some(call), pg_sys::Datum::from(run as usize)) }
}

unsafe extern "C-unwind" fn call(code: c_int, run: pg_sys::Datum) {
    // SAFETY: `at_exit` gave a function of this type.
    let run = unsafe { std::mem::transmute::<usize, fn(c_int)>(run.value()) };
    run(code);
}
