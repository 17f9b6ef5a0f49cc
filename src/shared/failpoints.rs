//! Actions set for failpoints by tests, in shared memory, so that they apply to background workers, too. A crash
//! restart clears them: the place where a process died does not kill the next one.

use crate::error::{Error, Result};
use crate::pg::error::catch_cancel;
use crate::pg::ipc::process;
use crate::pg::ipc::shared_memory::{Locked, plain_enum, plain_struct};
use crate::pg::ipc::wait::check_for_interrupts;
use crate::pg::session::{sql, subtransaction};
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::time::Duration;

plain_enum! {
    #[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
    pub enum Action {
        #[default]
        Off,
        /// Only count.
        Count,
        Error,
        Hang,
        Die,
    }
}

plain_struct! {
    #[derive(Clone, Copy, Default)]
    pub(super) struct Entry {
        action: Action,
        /// Number of remaining actions; 0 for no limit.
        left: u32,
        /// PID to which it applies; 0 for all.
        process: i32,
        hits: i64,
    }
}

/// Maximum number of failpoints.
pub const SLOTS: usize = 64;

pub(super) static ENTRIES: Locked<[Entry; SLOTS]> = Locked::new(c"helios_failpoints");

/// Performs the action set for the failpoint with this number and name. `hang` lasts until it is reset, or canceled
/// where that is possible.
pub fn hit(slot: usize, point: &str) -> Result<()> {
    match take(slot) {
        Action::Off | Action::Count => Ok(()),
        Action::Error => Err(Error::new(
            PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            format!("failpoint \"{point}\""),
        )),
        Action::Hang => {
            while ENTRIES.share()[slot].action == Action::Hang {
                std::thread::sleep(Duration::from_millis(5));
                check_for_interrupts();
            }
            Ok(())
        }
        Action::Die => {
            process::die();
            Ok(())
        }
    }
}

fn take(slot: usize) -> Action {
    let mut entries = ENTRIES.exclusive();
    let entry = &mut entries[slot];
    let is_meant = entry.process == 0 || entry.process == process::own_id();
    if entry.action == Action::Off || !is_meant {
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

/// Sets the action of a failpoint: `left` limits how often (0: no limit), `process` to whom (0: everybody) it applies.
/// Resets the count of hits.
pub fn set(slot: usize, action: Action, left: u32, process: i32) {
    ENTRIES.exclusive()[slot] = Entry { action, left, process, hits: 0 };
}

/// How often a failpoint was reached since it was set.
pub fn hits(slot: usize) -> i64 {
    ENTRIES.share()[slot].hits
}

/// Makes the server raise an error while the lock is held, and catches it without a rollback. Afterwards the lock must
/// be free and interrupts must be serviced.
pub fn catch_while_held() -> i64 {
    let caught = catch_cancel(|| {
        let entries = ENTRIES.exclusive();
        sql::run("DO $$ BEGIN RAISE query_canceled; END $$", &[])?;
        Ok(entries[0].hits)
    });
    caught.unwrap_or(-1)
}

/// Makes the server release the lock during the guard's lifetime, by rolling back a subtransaction, and reads through
/// the guard, which must be refused.
pub fn read_behind_rollback() -> i64 {
    let entries = ENTRIES.exclusive();
    let rolled_back = subtransaction::attempt(|| sql::run("SELECT 1 / 0", &[]));
    rolled_back.map_or_else(|_| entries[0].hits, |()| -1)
}
