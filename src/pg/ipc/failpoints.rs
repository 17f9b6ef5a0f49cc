//! What tests have set for the failpoints, in shared memory, so that a background worker meets it too. A server that
//! restarts after a crash has forgotten it: a place where a process died does not kill the next one.

#![allow(unexpected_cfgs)] // pg_shmem_init asks for versions that this crate has no feature for

use crate::error::{Error, OrRaise, Result};
use crate::failpoint::ALL;
use crate::pg::ipc::wait::check_for_interrupts;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use pgrx::prelude::*;
use pgrx::{PGRXSharedMemory, PgLwLock, pg_shmem_init};
use std::time::Duration;

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Action {
    #[default]
    Off,
    /// Nothing but counting.
    Count,
    Error,
    Hang,
    Die,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    action: Action,
    /// How many more times it is done; 0 for no limit.
    left: u32,
    /// The only process that it counts for; 0 for all.
    process: i32,
    hits: i64,
}

const SLOTS: usize = 64;
const _: () = assert!(ALL.len() <= SLOTS);

#[derive(Clone, Copy)]
struct Entries([Entry; SLOTS]);

impl Default for Entries {
    fn default() -> Self {
        Self([Entry::default(); SLOTS])
    }
}

// SAFETY: plain values, meaningful in every process.
unsafe impl PGRXSharedMemory for Entries {}

// SAFETY: the name is unique to this use, and the memory is asked for in `install`, from `_PG_init`.
static ENTRIES: PgLwLock<Entries> = unsafe { PgLwLock::new(c"helios_failpoints") };

/// Asks the postmaster for the memory.
pub fn install() {
    pg_shmem_init!(ENTRIES);
}

fn slot(point: &str) -> Option<usize> {
    ALL.iter().position(|name| *name == point)
}

/// Does what is set for this place. `hang` lasts until it is switched off, or cancelled where a cancel is possible.
pub fn hit(point: &str) -> Result<()> {
    let Some(slot) = slot(point) else { return Ok(()) };
    match take(slot) {
        Action::Off | Action::Count => Ok(()),
        Action::Error => Err(Error::new(
            PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            format!("failpoint \"{point}\""),
        )),
        Action::Hang => {
            while ENTRIES.share().0[slot].action == Action::Hang {
                std::thread::sleep(Duration::from_millis(5));
                check_for_interrupts();
            }
            Ok(())
        }
        Action::Die => {
            // SAFETY: plain system calls; this process ends with the first, as if by somebody's kill -9.
            unsafe {
                libc::kill(libc::getpid(), libc::SIGKILL);
                libc::pause();
            }
            Ok(())
        }
    }
}

fn take(slot: usize) -> Action {
    let mut entries = ENTRIES.exclusive();
    let entry = &mut entries.0[slot];
    // SAFETY: reads a static.
    if entry.action == Action::Off
        || (entry.process != 0 && entry.process != unsafe { pg_sys::MyProcPid })
    {
        return Action::Off;
    }
    entry.hits += 1;
    let action = entry.action;
    if action != Action::Hang && entry.left > 0 {
        entry.left -= 1;
        if entry.left == 0 {
            entry.action = Action::Count;
        }
    }
    action
}

/// Sets what happens at a place: `error`, `hang`, `die`, `count` or `off`; `times` limits how often (0: for ever),
/// `process` to whom (0: everybody). For tests, which declare it themselves. Its hits are counted from here on.
#[pg_extern(sql = false)]
fn helios_failpoint(point: &str, action: &str, times: i32, process: i32) {
    set(point, action, times, process).or_raise();
}

fn set(point: &str, action: &str, times: i32, process: i32) -> Result<()> {
    let unknown = |what: &str, text: &str| {
        Error::new(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, format!("no {what} \"{text}\""))
    };
    let slot = slot(point).ok_or_else(|| unknown("failpoint", point))?;
    let action = match action {
        "off" => Action::Off,
        "count" => Action::Count,
        "error" => Action::Error,
        "hang" => Action::Hang,
        "die" => Action::Die,
        other => return Err(unknown("action", other)),
    };
    let left = u32::try_from(times).unwrap_or(0);
    ENTRIES.exclusive().0[slot] = Entry { action, left, process, hits: 0 };
    Ok(())
}

/// How many times a place was passed since it was set.
#[pg_extern(sql = false)]
fn helios_failpoint_hits(point: &str) -> i64 {
    slot(point).map_or(0, |slot| ENTRIES.share().0[slot].hits)
}

/// The names of all places.
#[pg_extern(sql = false)]
fn helios_failpoints() -> Vec<String> {
    ALL.iter().map(|name| (*name).to_owned()).collect()
}
