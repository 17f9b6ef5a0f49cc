//! Rows that go from the node to the client as they are.

use super::{NodeScan, failed};
use crate::error::{Error, Result};
use crate::pg::catalog::object::FIRST_USER_OID;
use crate::pg::exec::custom_scan::{Attempt, ClientRows, ScanContext};
use crate::pg::session::client;
use crate::stats::Counted;
use crate::transaction::{Fetch, Mode, Step};
use helios_core::frames;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;

/// Number of rows passed to the client between two checks for interrupts.
const ROWS_BETWEEN_CHECKS: u64 = 64;

impl NodeScan {
    /// Runs the statement, and passes its rows to the client unchanged; counts them.
    pub(super) fn pass_on(
        &mut self,
        context: &mut ScanContext,
        to: &ClientRows<'_>,
        rows: &mut u64,
        counted: &mut Counted,
    ) -> Result<Attempt<()>> {
        let started = self.start(context, Some(&to.formats), Some(Fetch::All))?;
        let Attempt::Done(mut execution) = started else { return Ok(Attempt::Replan) };
        if !std::mem::replace(&mut self.told, true) {
            (to.begin)();
        }
        let mut forward = |row: &[u8]| {
            if !to.records.is_empty() {
                check_records(row, &to.records)?;
            }
            (to.send)(row)?;
            counted.row(row.len());
            *rows += 1;
            if (*rows).is_multiple_of(ROWS_BETWEEN_CHECKS) {
                client::check_for_interrupts();
            }
            Ok(())
        };
        loop {
            let step = execution.step(&mut forward);
            let plan = context.plan();
            if let Step::Complete(tag) = step.map_err(|error| failed(&plan, error))? {
                self.done = true;
                let changed = frames::rows_affected(&tag).unwrap_or(0);
                counted.done(changed.saturating_sub(*rows));
                return Ok(Attempt::Done(()));
            }
        }
    }

    /// Whether a failed statement can simply be run again: it is read-only and alone in its transaction, and the connection
    /// failed. The node may be back already, or another of its servers may be the primary now.
    pub(super) fn is_worth_repeating(context: &ScanContext, error: &Error) -> bool {
        let lost = error.is(PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE)
            || error.is(PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN)
            || error.is(PgSqlErrorCode::ERRCODE_CRASH_SHUTDOWN);
        lost && !context.plan().writes() && crate::executor::mode() == Mode::Autocommit
    }
}

/// A record in binary format contains the OIDs of its columns' types, which are different here for user-defined types.
///
/// Errors: 0A000 if a record of the row has a column of such a type.
fn check_records(row: &[u8], records: &[usize]) -> Result<()> {
    let malformed = |_| {
        Error::new(PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION, "malformed row received from a node")
    };
    let values: Vec<Option<&[u8]>> =
        frames::columns(row).and_then(|columns| columns.collect()).map_err(malformed)?;
    let portable = records.iter().all(|&i| match values.get(i) {
        Some(Some(record)) => record_types(record).all(|oid| oid < FIRST_USER_OID),
        _ => true,
    });
    if portable {
        return Ok(());
    }
    Err(Error::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        "cannot send an anonymous record with columns of user-defined types in binary format",
    )
    .hint("Request the text format, or select the columns individually."))
}

/// Type OIDs of the columns of a record in binary format.
fn record_types(record: &[u8]) -> impl Iterator<Item = u32> {
    let number =
        |at: usize| record.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    let mut at = 4;
    std::iter::from_fn(move || {
        let oid = number(at)?;
        // A length of -1 is NULL, without bytes.
        let length = number(at + 4)? as i32;
        at += 8 + usize::try_from(length).unwrap_or(0);
        Some(oid)
    })
}
