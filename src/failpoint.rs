//! Named places at which tests can make a step fail, hang or die. They are compiled with the cargo feature `failpoints`
//! only; without it they generate no code.
//!
//! Names are `step.before` (nothing has been done), `step.sent` (requested, without a response yet) and `step.after`
//! (done). The action is set with `helios.failpoint()` for all processes of the server; see `src/shared/failpoints.rs`.

use crate::error::Result;

macro_rules! points {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*
        /// All names.
        #[cfg(feature = "failpoints")]
        pub const ALL: &[&str] = &[$($name),*];
    };
}

points! {
    /// A step of a migration is about to begin.
    MIGRATION_STEP_BEFORE = "migration.step.before";
    /// Publications and fences of a migration are about to be created.
    MIGRATION_PUBLISH_BEFORE = "migration.publish.before";
    /// The publication exists, the slot does not.
    MIGRATION_SLOT_BEFORE = "migration.slot.before";
    /// The slot exists.
    MIGRATION_SLOT_AFTER = "migration.slot.after";
    /// The schemas exist on the target, without rows.
    MIGRATION_DEFINITION_AFTER = "migration.definition.after";
    /// A table has been copied, but that is not recorded yet.
    MIGRATION_TABLE_COPIED = "migration.table.copied";
    /// All rows have been copied; indexes and constraints are about to be created.
    MIGRATION_INDEXES_BEFORE = "migration.indexes.before";
    /// Indexes and constraints exist.
    MIGRATION_INDEXES_AFTER = "migration.indexes.after";
    /// The subscription is about to be created.
    MIGRATION_SUBSCRIBE_BEFORE = "migration.subscribe.before";
    /// The subscription exists.
    MIGRATION_SUBSCRIBE_AFTER = "migration.subscribe.after";
    /// Both copies are about to be compared.
    MIGRATION_VERIFY_BEFORE = "migration.verify.before";
    /// The reverse channel is about to be prepared.
    MIGRATION_BACK_BEFORE = "migration.back.before";
    /// The reverse channel has been prepared.
    MIGRATION_BACK_AFTER = "migration.back.after";
    /// The fence is about to be raised for the switch.
    MIGRATION_SWITCH_BEFORE = "migration.switch.before";
    /// The fence has been raised.
    MIGRATION_FENCE_AFTER = "migration.fence.after";
    /// The switch is about to be committed.
    MIGRATION_FLIP_BEFORE = "migration.flip.before";
    /// The switch has been committed.
    MIGRATION_SWITCH_AFTER = "migration.switch.after";
    /// The reverse channel is about to be opened.
    MIGRATION_REVERSE_BEFORE = "migration.reverse.before";
    /// The reverse channel is open.
    MIGRATION_REVERSE_AFTER = "migration.reverse.after";
    /// An object is about to be removed by cleanup.
    MIGRATION_CLEANUP_BEFORE = "migration.cleanup.before";
    /// An object has been removed, but that is not recorded yet.
    MIGRATION_CLEANUP_AFTER = "migration.cleanup.after";
    /// Closing a foreign server's copy to writers has been committed there, but the switch has not.
    MIGRATION_IMPORT_CLOSED = "migration.import.closed";
    /// A session with a node is about to be opened.
    CONNECT_BEFORE = "connect.before";
    /// The session has been opened.
    CONNECT_AFTER = "connect.after";
    /// COMMIT is about to be sent to the only node that was written.
    COMMIT_BEFORE = "commit.before";
    /// COMMIT has been sent, without a response yet.
    COMMIT_SENT = "commit.sent";
    /// The node has committed; nothing is left to do here.
    COMMIT_AFTER = "commit.after";
    /// Nodes that were only read are about to be released.
    RELEASE_BEFORE = "release.before";
    /// The readers have been asked to commit.
    RELEASE_SENT = "release.sent";
    /// The readers have responded.
    RELEASE_AFTER = "release.after";
    /// PREPARE TRANSACTION is about to be sent to the nodes.
    PREPARE_BEFORE = "prepare.before";
    /// PREPARE TRANSACTION is about to be sent to the second or a later node.
    PREPARE_NEXT = "prepare.next";
    /// PREPARE TRANSACTION has been sent to all.
    PREPARE_SENT = "prepare.sent";
    /// All have prepared; there is no commit record yet.
    PREPARE_AFTER = "prepare.after";
    /// The commit records have been inserted, but not committed.
    RECORD_AFTER = "record.after";
    /// A user's PREPARE TRANSACTION has been done here and on the nodes.
    USER_PREPARE_AFTER = "user_prepare.after";
    /// The local transaction has been committed with its records.
    COMMIT_PREPARED_BEFORE = "commit_prepared.before";
    /// COMMIT PREPARED is about to be sent to the second or a later node.
    COMMIT_PREPARED_NEXT = "commit_prepared.next";
    /// COMMIT PREPARED has been sent to all.
    COMMIT_PREPARED_SENT = "commit_prepared.sent";
    /// All have responded.
    COMMIT_PREPARED_AFTER = "commit_prepared.after";
    /// The local transaction has been rolled back, the nodes have not.
    ROLLBACK_BEFORE = "rollback.before";
    /// One node has been rolled back.
    ROLLBACK_AFTER = "rollback.after";
    /// A prepared transaction is about to be rolled back by its own session.
    ROLLBACK_PREPARED_BEFORE = "rollback_prepared.before";
    /// The prepared transaction has been rolled back.
    ROLLBACK_PREPARED_AFTER = "rollback_prepared.after";
    /// Recovery is about to connect to a node.
    RECOVERY_BEFORE = "recovery.before";
    /// Recovery has listed the node's prepared transactions.
    RECOVERY_LISTED = "recovery.listed";
    /// Recovery is about to commit a prepared transaction.
    RECOVERY_COMMIT_BEFORE = "recovery_commit.before";
    /// Recovery has committed it; the record still exists.
    RECOVERY_COMMIT_AFTER = "recovery_commit.after";
    /// Recovery is about to roll back a prepared transaction.
    RECOVERY_ROLLBACK_BEFORE = "recovery_rollback.before";
    /// Recovery has rolled it back.
    RECOVERY_ROLLBACK_AFTER = "recovery_rollback.after";
    /// Recovery is about to delete records.
    RECOVERY_FORGET_BEFORE = "recovery_forget.before";
    /// Recovery has deleted records without committing that.
    RECOVERY_FORGET_AFTER = "recovery_forget.after";
    /// Rows of other places are about to be sent to the node of their statement.
    SHIP_BEFORE = "ship.before";
    /// The rows have been sent, the statement has not.
    SHIP_SENT = "ship.sent";
    /// The statement has run, and the node still has the rows.
    FORGET_ROWS_BEFORE = "forget_rows.before";
    /// A DDL command is about to run here.
    DEFINITION_BEFORE = "definition.before";
    /// The DDL command has run here, but not on nodes.
    DEFINITION_LOCAL = "definition.local";
    /// The DDL command is about to be sent to one node.
    DEFINITION_SEND_BEFORE = "definition_send.before";
    /// The DDL command has run on one node.
    DEFINITION_SEND_AFTER = "definition_send.after";
    /// The DDL command has run everywhere, but is not committed.
    DEFINITION_AFTER = "definition.after";
}

/// Performs the action set by a test: an error, a wait, the end of this process, or nothing.
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

/// SQL functions for tests, which create them.
#[cfg(feature = "failpoints")]
mod functions {
    use super::{ALL, slot};
    use crate::error::{Error, Result};
    use crate::pg::error::OrRaise;
    use crate::shared::failpoints::{self, Action};
    use pgrx::pg_sys::errcodes::PgSqlErrorCode;
    use pgrx::prelude::*;

    /// Sets the action of a failpoint: `error`, `hang`, `die`, `count` or `off`; `times` limits how often (0: no
    /// limit), `process` to whom (0: everybody) it applies. Resets the count of hits.
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

    /// How often a failpoint was reached since it was set.
    #[pg_extern(sql = false)]
    fn helios_failpoint_hits(point: &str) -> i64 {
        slot(point).map_or(0, failpoints::hits)
    }

    /// Makes the server raise an error while a shared-memory lock is held, and catches it; see the function called.
    #[pg_extern(sql = false)]
    fn helios_failpoint_lock(rolled_back: bool) -> i64 {
        match rolled_back {
            true => failpoints::read_behind_rollback(),
            false => failpoints::catch_while_held(),
        }
    }

    /// The names of all failpoints.
    #[pg_extern(sql = false)]
    fn helios_failpoints() -> Vec<String> {
        ALL.iter().map(|name| (*name).to_owned()).collect()
    }
}
