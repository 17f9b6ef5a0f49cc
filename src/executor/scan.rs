//! The plan node that runs one statement on one node.

use super::explain;
use super::position;
use super::reader::Reader;
use crate::catalog::NodeId;
use crate::error::{Error, Result};
use crate::pg::catalog::object::FIRST_USER_OID;
use crate::pg::exec::custom_scan::{Attempt, ClientRows, Next, Scan, ScanContext};
use crate::pg::exec::explain::ExplainOutput;
use crate::pg::session::client;
use crate::pg::session::xact;
use crate::remote::{Statement, Value};
use crate::settings::{self, ReadFrom};
use crate::stats::Counted;
use crate::transaction::{self, Execution, Fetch, Mode, Step};
use helios_core::frames;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::collections::VecDeque;

/// Number of rows fetched at a time if the executor does not specify one.
const BATCH: u32 = 1000;
/// Number of rows passed to the client between two checks for interrupts.
const ROWS_BETWEEN_CHECKS: u64 = 64;

/// Execution state of a statement on a node.
pub struct NodeScan {
    execution: Option<Execution>,
    done: bool,
    /// Subtransaction depth at which the scan was created, and thus its cursor opened.
    level: u32,
    /// Prefetched rows, because the node's portal may not live as long as the local cursor.
    kept: Option<VecDeque<Vec<u8>>>,
    /// Number of rows returned to the executor so far.
    emitted: u64,
    /// The node's plan with statistics, if EXPLAIN ANALYZE ran the statement.
    analyzed: Vec<String>,
    /// Statistics counted for its schema, once the executor asks for rows.
    counted: Counted,
    /// Whether it runs on a replica.
    on_copy: bool,
    /// A replica has failed: use the primary.
    refuses_copies: bool,
    /// The client, who gets the rows unchanged, has received their description.
    told: bool,
    /// The roles for which the executor readied it, and checked privileges.
    reader: Reader,
}

impl NodeScan {
    /// Chooses the node of the statement: a replica if it is read-only and alone in its transaction, and the session
    /// wants it.
    fn place(&mut self, context: &ScanContext, alone: bool) -> Result<Attempt<NodeId>> {
        let plan = context.plan();
        let Attempt::Done(node) = super::locate_or_replan(plan.namespaces())? else {
            return Ok(Attempt::Replan);
        };
        let wanted = settings::READ_FROM.get() == ReadFrom::Any;
        let may = wanted && alone && !plan.writes() && !self.refuses_copies;
        let copy = if may { super::replica_reads::near(plan.namespaces())? } else { None };
        self.on_copy = copy.is_some();
        Ok(Attempt::Done(copy.unwrap_or(node)))
    }

    /// Sends the statement to its node.
    fn start(
        &mut self,
        context: &ScanContext,
        formats: Option<&[i16]>,
        fetch: Option<Fetch>,
    ) -> Result<Attempt<Execution>> {
        let plan = context.plan();
        self.reader.check_begin(&plan)?;
        let mut params = context.params(plan.params());
        let mode = super::mode();
        let fetch = match fetch {
            Some(fetch) => fetch,
            // A statement without result rows needs no batches, and no separate message to close a portal.
            None if mode == Mode::Autocommit || !context.has_columns() => Fetch::All,
            None => Fetch::Batch(BATCH),
        };
        let alone = mode == Mode::Autocommit && matches!(fetch, Fetch::All);
        let Attempt::Done(node) = self.place(context, alone)? else {
            return Ok(Attempt::Replan);
        };
        if params.has_user_types() {
            super::remote_types::translate(&mut params, node, mode)?;
        }
        let values: Vec<Value> =
            params.values().map(|(binary, bytes)| Value { binary, bytes }).collect();
        // Decoding can still fail here, after a node that was alone in its transaction has committed.
        let may_fail_here = plan.writes() && formats.is_none() && context.has_columns();
        let alone = matches!(fetch, Fetch::All) && !may_fail_here;
        let mode = if alone { mode } else { Mode::Transaction };
        let statement = Statement {
            sql: plan.sql(),
            types: params.types(),
            values: &values,
            result_formats: formats.unwrap_or_default(),
            reuse: !params.is_empty() || crate::pg::exec::nesting::depth() > 1,
            columns: plan.columns(),
        };
        if plan.writes() {
            plan.namespaces().take(1).for_each(super::note_write);
        }
        let execution = transaction::start(node, &statement, mode, fetch, plan.writes())
            .map_err(|error| position::relocate(error, plan.offset(), plan.sql()))?;
        if plan.unsettles() {
            transaction::forget_settings_of(node);
        }
        Ok(Attempt::Done(execution))
    }

    /// Restarts on the primary after a replica has failed.
    fn start_again(&mut self, context: &ScanContext) -> Result<Attempt<Execution>> {
        self.refuses_copies = true;
        self.start(context, None, Some(Fetch::All))
    }

    fn finished(&mut self, context: &mut ScanContext, tag: &str) {
        // With RETURNING, rows were counted on the way: an executor that asks for a few looks at the count before the
        // end.
        let changed = frames::rows_affected(tag).unwrap_or(0);
        context.add_processed(changed.saturating_sub(self.emitted));
        self.counted.done(changed.saturating_sub(self.emitted));
        self.done = true;
        self.execution = None;
    }

    /// Reads all rows: a cursor first fetched from inside a savepoint survives a rollback to it, but a portal opened on
    /// the node inside the savepoint does not.
    fn keep_rows(&mut self, context: &mut ScanContext) -> Result<Attempt<()>> {
        let Attempt::Done(mut execution) = self.start(context, None, Some(Fetch::All))? else {
            return Ok(Attempt::Replan);
        };
        let counted = &mut self.counted;
        let mut rows = VecDeque::new();
        loop {
            let step = execution.step(&mut |row| {
                counted.row(row.len());
                rows.push_back(row.to_vec());
                Ok(())
            });
            let plan = context.plan();
            if let Step::Complete(tag) =
                step.map_err(|error| position::relocate(error, plan.offset(), plan.sql()))?
            {
                let changed = frames::rows_affected(&tag).unwrap_or(0);
                context.add_processed(changed.saturating_sub(rows.len() as u64));
                counted.done(changed.saturating_sub(rows.len() as u64));
                self.kept = Some(rows);
                return Ok(Attempt::Done(()));
            }
        }
    }

    /// Runs the statement under EXPLAIN ANALYZE on the node and keeps the output.
    fn analyze(&mut self, context: &ScanContext, options: &str) -> Result<()> {
        self.analyzed = explain::on_node(context, options)?;
        self.done = true;
        Ok(())
    }
}

impl NodeScan {
    /// Runs the statement, and passes its rows to the client unchanged; counts them.
    fn pass_on(
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
            client::send(b'D', row);
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
            if let Step::Complete(tag) =
                step.map_err(|error| position::relocate(error, plan.offset(), plan.sql()))?
            {
                self.done = true;
                let changed = frames::rows_affected(&tag).unwrap_or(0);
                counted.done(changed.saturating_sub(*rows));
                return Ok(Attempt::Done(()));
            }
        }
    }
}

/// Whether a failed statement can simply be run again: it is read-only and alone in its transaction, and the connection
/// failed. The node may be back already, or another of its servers may be the primary now.
fn is_worth_repeating(context: &ScanContext, error: &Error) -> bool {
    let lost = error.is(PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE)
        || error.is(PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN)
        || error.is(PgSqlErrorCode::ERRCODE_CRASH_SHUTDOWN);
    lost && !context.plan().writes() && super::mode() == Mode::Autocommit
}

impl Scan for NodeScan {
    fn new() -> Self {
        Self {
            execution: None,
            done: false,
            level: xact::nest_level(),
            kept: None,
            emitted: 0,
            analyzed: Vec::new(),
            counted: Counted::default(),
            on_copy: false,
            refuses_copies: false,
            told: false,
            reader: Reader::current(),
        }
    }

    fn next(&mut self, context: &mut ScanContext) -> Result<Attempt<Next>> {
        let next = self.next_row(context);
        match next {
            Err(_) => self.counted.failed(),
            // A statement that runs locally does not count for the schema's node.
            Ok(Attempt::Replan) => self.counted = Counted::default(),
            Ok(_) => {}
        }
        next
    }

    fn has_started(&self) -> bool {
        self.done || self.execution.is_some() || self.kept.is_some()
    }

    fn run_to_client(
        &mut self,
        context: &mut ScanContext,
        to: &ClientRows<'_>,
    ) -> Result<Attempt<u64>> {
        if context.plan().sql().is_empty() {
            (to.begin)();
            return Ok(Attempt::Done(0));
        }
        let mut counted = Counted::begin(context.plan().namespaces());
        let mut rows = 0;
        let mut outcome = self.pass_on(context, to, &mut rows, &mut counted);
        // Errors on a replica only count if the primary fails, too.
        self.refuses_copies = self.on_copy;
        let repeat = |error| self.on_copy || is_worth_repeating(context, error);
        if rows == 0 && outcome.as_ref().is_err_and(repeat) {
            outcome = self.pass_on(context, to, &mut rows, &mut counted);
        }
        if outcome.is_err() {
            counted.failed();
        }
        Ok(match outcome? {
            Attempt::Done(()) => Attempt::Done(rows),
            Attempt::Replan => Attempt::Replan,
        })
    }

    fn rescan(&mut self) -> Result<()> {
        self.end()?;
        self.done = false;
        self.emitted = 0;
        self.kept = None;
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.counted.done(0);
        let ended = self.execution.take().map_or(Ok(()), |mut execution| execution.close());
        if crate::pg::exec::nesting::depth() == 0 {
            transaction::close_portals(); // the portal here was closed by a message of the client's
        }
        ended
    }

    fn explain(&mut self, context: &mut ScanContext, output: &mut ExplainOutput) -> Result<()> {
        explain::print(context, &self.analyzed, output)
    }
}

impl NodeScan {
    fn next_row(&mut self, context: &mut ScanContext) -> Result<Attempt<Next>> {
        if self.done || context.plan().sql().is_empty() {
            return Ok(Attempt::Done(Next::End));
        }
        if self.execution.is_none() {
            if let Some(running) = crate::pg::exec::nesting::executing_explain()
                .filter(|r| r.analyze && context.rows_unwanted())
            {
                self.analyze(context, &running.options)?;
                return Ok(Attempt::Done(Next::End));
            }
            if self.kept.is_none() {
                self.counted = Counted::begin(context.plan().namespaces());
            }
            if self.kept.is_none()
                && xact::nest_level() > self.level
                && self.keep_rows(context)? == Attempt::Replan
            {
                return Ok(Attempt::Replan);
            }
            if let Some(rows) = &mut self.kept {
                let Some(row) = rows.pop_front() else { return Ok(Attempt::Done(Next::End)) };
                context.add_processed(1);
                return context.store(&row).map(|()| Attempt::Done(Next::Row));
            }
            let limit = u32::try_from(context.limit()).ok().filter(|&limit| limit > 0);
            let started = self.start(context, None, limit.map(Fetch::Batch));
            let started = match started {
                Err(_) if self.on_copy => self.start_again(context)?,
                started => started?,
            };
            let Attempt::Done(execution) = started else { return Ok(Attempt::Replan) };
            self.execution = Some(execution);
        }
        loop {
            let Some(execution) = &mut self.execution else { return Ok(Attempt::Replan) };
            let counted = &mut self.counted;
            let step = execution.step(&mut |row| {
                counted.answered();
                counted.row(row.len());
                context.store(row)
            });
            if step.is_err() && self.on_copy && self.emitted == 0 {
                self.execution = match self.start_again(context)? {
                    Attempt::Done(execution) => Some(execution),
                    Attempt::Replan => None,
                };
                continue;
            }
            let plan = context.plan();
            match step.map_err(|error| position::relocate(error, plan.offset(), plan.sql()))? {
                Step::Row => {
                    context.add_processed(1);
                    self.emitted += 1;
                    return Ok(Attempt::Done(Next::Row));
                }
                Step::Complete(tag) => {
                    self.finished(context, &tag);
                    return Ok(Attempt::Done(Next::End));
                }
                Step::Suspended => {
                    self.reader.check_next(&plan)?;
                    let limit = u32::try_from(context.limit()).ok().filter(|&limit| limit > 0);
                    execution.more(limit.unwrap_or(BATCH))?;
                    self.counted.resumed();
                }
            }
        }
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
