//! Named places where a test makes a step fail, hang or die. They are compiled in with the cargo feature
//! `failpoints` only; without it a place is nothing at all.
//!
//! Names are `step.before` (nothing of it is done), `step.sent` (asked for, not answered) and `step.after` (done).
//! What is to happen is set by `helios.failpoint()`, for all processes of the server; see `src/shared/failpoints.rs`.

use crate::error::Result;

macro_rules! points {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*
        /// Every name.
        #[cfg(feature = "failpoints")]
        pub const ALL: &[&str] = &[$($name),*];
    };
}

points! {
    /// A step of a migration is about to begin.
    MIGRATION_STEP_BEFORE = "migration.step.before";
    /// Publications and fences of a migration are about to be made.
    MIGRATION_PUBLISH_BEFORE = "migration.publish.before";
    /// The publication is there, the slot is not.
    MIGRATION_SLOT_BEFORE = "migration.slot.before";
    /// The slot is there.
    MIGRATION_SLOT_AFTER = "migration.slot.after";
    /// The schemas are on the target, without rows.
    MIGRATION_DEFINITION_AFTER = "migration.definition.after";
    /// A table is copied, which is not noted yet.
    MIGRATION_TABLE_COPIED = "migration.table.copied";
    /// All rows are copied; indexes and constraints are about to be made.
    MIGRATION_INDEXES_BEFORE = "migration.indexes.before";
    /// They are there.
    MIGRATION_INDEXES_AFTER = "migration.indexes.after";
    /// The subscription is about to be made.
    MIGRATION_SUBSCRIBE_BEFORE = "migration.subscribe.before";
    /// It is there.
    MIGRATION_SUBSCRIBE_AFTER = "migration.subscribe.after";
    /// Both copies are about to be compared.
    MIGRATION_VERIFY_BEFORE = "migration.verify.before";
    /// The way back is about to be prepared.
    MIGRATION_BACK_BEFORE = "migration.back.before";
    /// It is prepared.
    MIGRATION_BACK_AFTER = "migration.back.after";
    /// The fence is about to be put up for the switch.
    MIGRATION_SWITCH_BEFORE = "migration.switch.before";
    /// The fence stands.
    MIGRATION_FENCE_AFTER = "migration.fence.after";
    /// The switch is about to be committed.
    MIGRATION_FLIP_BEFORE = "migration.flip.before";
    /// It is committed.
    MIGRATION_SWITCH_AFTER = "migration.switch.after";
    /// The way back is about to be opened.
    MIGRATION_REVERSE_BEFORE = "migration.reverse.before";
    /// It is open.
    MIGRATION_REVERSE_AFTER = "migration.reverse.after";
    /// Something is about to be removed by the clean-up.
    MIGRATION_CLEANUP_BEFORE = "migration.cleanup.before";
    /// It is removed, which is not noted yet.
    MIGRATION_CLEANUP_AFTER = "migration.cleanup.after";
    /// A foreign server's copy is closed to writers, which is committed there; the switch is not.
    MIGRATION_IMPORT_CLOSED = "migration.import.closed";
    /// A session to a node is about to be made.
    CONNECT_BEFORE = "connect.before";
    /// It is made.
    CONNECT_AFTER = "connect.after";
    /// COMMIT is about to go to the one node that wrote.
    COMMIT_BEFORE = "commit.before";
    /// It is on the way, and not answered.
    COMMIT_SENT = "commit.sent";
    /// The node has committed; nothing is left to do here.
    COMMIT_AFTER = "commit.after";
    /// Nodes that were only read are about to be released.
    RELEASE_BEFORE = "release.before";
    /// They are asked to commit.
    RELEASE_SENT = "release.sent";
    /// They have answered.
    RELEASE_AFTER = "release.after";
    /// PREPARE TRANSACTION is about to go to the nodes.
    PREPARE_BEFORE = "prepare.before";
    /// It is about to go to the second node, and the others after the first.
    PREPARE_NEXT = "prepare.next";
    /// It is on the way to all.
    PREPARE_SENT = "prepare.sent";
    /// All have prepared; there is no commit record.
    PREPARE_AFTER = "prepare.after";
    /// The commit records are written, and not committed.
    RECORD_AFTER = "record.after";
    /// PREPARE TRANSACTION of a user is done here and on the nodes.
    USER_PREPARE_AFTER = "user_prepare.after";
    /// The local transaction is committed, its records with it.
    COMMIT_PREPARED_BEFORE = "commit_prepared.before";
    /// COMMIT PREPARED is about to go to the second node, and the others after the first.
    COMMIT_PREPARED_NEXT = "commit_prepared.next";
    /// It is on the way to all.
    COMMIT_PREPARED_SENT = "commit_prepared.sent";
    /// All have answered.
    COMMIT_PREPARED_AFTER = "commit_prepared.after";
    /// The local transaction is rolled back, the nodes are not.
    ROLLBACK_BEFORE = "rollback.before";
    /// One node is rolled back.
    ROLLBACK_AFTER = "rollback.after";
    /// A transaction that was prepared is about to be rolled back by its own session.
    ROLLBACK_PREPARED_BEFORE = "rollback_prepared.before";
    /// It is rolled back.
    ROLLBACK_PREPARED_AFTER = "rollback_prepared.after";
    /// Recovery is about to look at a node.
    RECOVERY_BEFORE = "recovery.before";
    /// It has listed what is prepared there.
    RECOVERY_LISTED = "recovery.listed";
    /// It is about to commit a prepared transaction.
    RECOVERY_COMMIT_BEFORE = "recovery_commit.before";
    /// It has committed it; the record is still there.
    RECOVERY_COMMIT_AFTER = "recovery_commit.after";
    /// It is about to roll a prepared transaction back.
    RECOVERY_ROLLBACK_BEFORE = "recovery_rollback.before";
    /// It has rolled it back.
    RECOVERY_ROLLBACK_AFTER = "recovery_rollback.after";
    /// It is about to remove records.
    RECOVERY_FORGET_BEFORE = "recovery_forget.before";
    /// It has removed them, and not committed that.
    RECOVERY_FORGET_AFTER = "recovery_forget.after";
    /// A definition is about to be changed here.
    DEFINITION_BEFORE = "definition.before";
    /// It is changed here, and not on its nodes.
    DEFINITION_LOCAL = "definition.local";
    /// It is about to go to one node.
    DEFINITION_SEND_BEFORE = "definition_send.before";
    /// It is changed on one node.
    DEFINITION_SEND_AFTER = "definition_send.after";
    /// It is changed everywhere, and not committed.
    DEFINITION_AFTER = "definition.after";
}

/// Does what a test has set for this place: an error, a wait, the end of this process, or (else) nothing.
#[inline(always)]
pub fn hit(point: &'static str) -> Result<()> {
    #[cfg(feature = "failpoints")]
    return match slot(point) {
        Some(slot) => crate::shared::failpoints::hit(slot, point),
        None => Ok(()),
    };
    #[cfg(not(feature = "failpoints"))]
    {
        let _ = point;
        Ok(())
    }
}

#[cfg(feature = "failpoints")]
const _: () = assert!(ALL.len() <= crate::shared::failpoints::SLOTS);

#[cfg(feature = "failpoints")]
fn slot(point: &str) -> Option<usize> {
    ALL.iter().position(|name| *name == point)
}

/// SQL functions of tests, which declare them themselves.
#[cfg(feature = "failpoints")]
mod functions {
    use super::{ALL, slot};
    use crate::error::{Error, Result};
    use crate::pg::error::OrRaise;
    use crate::shared::failpoints::{self, Action};
    use pgrx::pg_sys::errcodes::PgSqlErrorCode;
    use pgrx::prelude::*;

    /// Sets what happens at a place: `error`, `hang`, `die`, `count` or `off`; `times` limits how often (0: for ever),
    /// `process` to whom (0: everybody). Its hits are counted from here on.
    #[pg_extern(sql = false)]
    fn helios_failpoint(point: &str, action: &str, times: i32, process: i32) {
        set(point, action, times, process).or_raise();
    }

    fn set(point: &str, action: &str, times: i32, process: i32) -> Result<()> {
        let unknown = |what: &str, text: &str| {
            let message = format!("unrecognized {what} \"{text}\"");
            Error::new(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, message)
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
        failpoints::set(slot, action, u32::try_from(times).unwrap_or(0), process);
        Ok(())
    }

    /// How many times a place was passed since it was set.
    #[pg_extern(sql = false)]
    fn helios_failpoint_hits(point: &str) -> i64 {
        slot(point).map_or(0, failpoints::hits)
    }

    /// The names of all places.
    #[pg_extern(sql = false)]
    fn helios_failpoints() -> Vec<String> {
        ALL.iter().map(|name| (*name).to_owned()).collect()
    }
}
