//! This process and others of the server: PIDs, latches, signals, and exit callbacks.

use pgrx::pg_sys;
use std::ffi::c_int;

/// PID of this process.
pub fn own_id() -> i32 {
    // SAFETY: set once at the start of the process.
    unsafe { pg_sys::MyProcPid }
}

/// Sets the latch of a process of this server, if it exists.
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

/// Sends SIGTERM to a process, like `pg_terminate_backend()`.
pub fn terminate(pid: i32) {
    if pid > 1 {
        // SAFETY: a system call without pointers.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }
}

/// Kills this process at once, as by `kill -9`.
#[cfg(feature = "failpoints")]
pub fn die() {
    // SAFETY: plain system calls; this process ends with the first.
    unsafe {
        libc::kill(libc::getpid(), libc::SIGKILL);
        libc::pause();
    }
}

/// Registers `run`, which gets the exit code, for the exit of this process, while shared memory is still accessible. It
/// must not raise errors. Call this rarely: the server's list of callbacks is short.
pub fn at_exit(run: fn(c_int)) {
    // SAFETY: the callback lives as long as the process, and its argument is the function.
    unsafe { pg_sys::before_shmem_exit(Some(call), pg_sys::Datum::from(run as usize)) }
}

unsafe extern "C-unwind" fn call(code: c_int, run: pg_sys::Datum) {
    // SAFETY: `at_exit` gave a function of this type.
    let run = unsafe { std::mem::transmute::<usize, fn(c_int)>(run.value()) };
    run(code);
}
