//! The plan node that runs one statement on one node.

mod batches;
mod copied;
mod current_of;
mod kept;
mod of_cursor;
mod open_cursor;
mod to_client;

use super::absent;
use super::explain;
use super::parts::PartScan;
use super::position;
use super::reader::Reader;
use crate::catalog::NodeId;
use crate::error::{Error, Result};
use crate::pg::exec::cursor::Cursor;
use crate::pg::exec::custom_scan::{Attempt, ClientRows, Next, Part, Scan, ScanContext};
use crate::pg::exec::explain::ExplainOutput;
use crate::pg::exec::nesting;
use crate::pg::exec::remote_plan::PlanView;
use crate::pg::session::xact;
use crate::remote::{Statement, Value};
use crate::settings::{self, ReadFrom};
use crate::stats::Counted;
use crate::transaction::{self, Execution, Fetch, Mode, OpenPortal, Step};
use batches::{BATCH, larger_batch};
use helios_core::frames;
use open_cursor::OpenCursor;
use std::collections::VecDeque;

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
    /// Their bytes.
    received: u64,
    /// Number of rows fetched last.
    batch: u32,
    /// The node's plan, with statistics if EXPLAIN ANALYZE ran the statement.
    explained: Vec<String>,
    /// Statistics counted for its schema, once the executor asks for rows.
    counted: Counted,
    /// Whether it runs on a replica.
    on_copy: bool,
    /// A replica has failed: use the primary.
    refuses_copies: bool,
    /// The client, who gets the rows unchanged, has received their description.
    told: bool,
    /// The part's portal, if it was opened together with those of others.
    portal: Option<OpenPortal>,
    /// The numbers under which rows were sent to the node ahead of the statement.
    sent: Option<(NodeId, Vec<i64>)>,
    /// The roles for which the executor readied it, and checked privileges.
    reader: Reader,
    /// The cursor on the node that it gives the rows of.
    cursor: Option<OpenCursor>,
    /// The cursor of WHERE CURRENT OF: its name on the node, and here.
    current_of: Option<(String, String)>,
}

impl NodeScan {
    /// Chooses the node of the statement: a replica if it is read-only and alone in its transaction, and the session
    /// wants it.
    fn place(&mut self, context: &ScanContext, alone: bool) -> Result<Attempt<NodeId>> {
        let plan = context.plan();
        // What rows of other places it needs was decided for this node.
        let place = match plan.has_sources() {
            true => Attempt::Done(super::locate(plan.namespaces())?),
            false => super::locate_or_replan(plan.namespaces())?,
        };
        let Attempt::Done(node) = place else { return Ok(Attempt::Replan) };
        let wanted = settings::READ_FROM.get() == ReadFrom::Any;
        let may = wanted && alone && !plan.writes() && !self.refuses_copies;
        let copy = if may { super::replica_reads::near(plan.namespaces())? } else { None };
        self.on_copy = copy.is_some();
        Ok(Attempt::Done(copy.unwrap_or(node)))
    }

    /// Sends the statement to its node.
    fn start(
        &mut self,
        context: &mut ScanContext,
        client: Option<&[i16]>,
        fetch: Option<Fetch>,
    ) -> Result<Attempt<Execution>> {
        self.check_reader(context)?;
        if let Some(opened) = self.portal.take() {
            return opened.fetch(BATCH).map(Attempt::Done);
        }
        let own = if client.is_none() { context.formats()? } else { Vec::new() };
        let plan = context.plan();
        let mut params = context.params(plan.params());
        // What is sent ahead of the statement is in its transaction.
        let mode = if plan.has_sources() { Mode::Transaction } else { super::mode() };
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
            if context.is_part() {
                params.drop_user_types();
            }
            let enclosed = self.reader.is_enclosed();
            super::remote_types::translate(&mut params, enclosed, node, mode)?;
        }
        if plan.has_sources() {
            self.sent = Some((node, super::shipping::send::<Self>(context, node)?));
            for (number, id) in self.sent.iter().flat_map(|(_, numbers)| numbers).zip(1..) {
                params.put_number((plan.params() + id) as usize, *number);
            }
        }
        let values: Vec<Value> =
            params.values().map(|(binary, bytes)| Value { binary, bytes }).collect();
        // Decoding can still fail here, after a node that was alone in its transaction has committed.
        let may_fail_here = plan.writes() && client.is_none() && context.has_columns();
        let alone = matches!(fetch, Fetch::All) && !may_fail_here;
        let mode = if alone { mode } else { Mode::Transaction };
        let sql = self.text(context, node)?;
        let statement = Statement {
            sql: &sql,
            types: params.types(),
            values: &values,
            result_formats: client.unwrap_or(&own),
            // How many rows were sent is new each time, and the node's plan depends on it.
            reuse: !plan.has_sources() && (!params.is_empty() || nesting::depth() > 1),
            columns: plan.columns(),
        };
        if plan.writes() {
            plan.namespaces().take(1).for_each(super::note_write);
        }
        let execution = transaction::start(node, &statement, mode, fetch, plan.writes())
            .map_err(|error| failed(&plan, error))?;
        if plan.unsettles() {
            transaction::forget_settings_of(node);
        }
        Ok(Attempt::Done(execution))
    }

    /// Restarts on the primary after a replica has failed.
    fn start_again(&mut self, context: &mut ScanContext) -> Result<Attempt<Execution>> {
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

    /// Runs the statement under EXPLAIN ANALYZE on the node and keeps the output.
    fn analyze(&mut self, context: &mut ScanContext, options: &str) -> Result<()> {
        self.explained = explain::on_node::<Self>(context, options, explain::Runs::Yes)?;
        explain::show_figures(context, &self.explained);
        self.done = true;
        Ok(())
    }
}

/// The error of a plan's statement: with its position in the client's text, and what a missing relation lacks.
fn failed(plan: &PlanView<'_>, error: Error) -> Error {
    let error = absent::explain(error, plan.namespaces());
    position::relocate(error, plan.offset(), plan.sql())
}

impl PartScan for NodeScan {
    fn check_reader(&self, context: &ScanContext) -> Result<()> {
        self.reader.check_begin(&context.plan())
    }

    fn read_from(&mut self, portal: OpenPortal) {
        self.portal = Some(portal);
    }
}

impl Scan for NodeScan {
    fn new() -> Self {
        Self {
            execution: None,
            done: false,
            level: xact::nest_level(),
            kept: None,
            emitted: 0,
            received: 0,
            batch: BATCH,
            explained: Vec::new(),
            counted: Counted::default(),
            on_copy: false,
            refuses_copies: false,
            told: false,
            portal: None,
            sent: None,
            reader: Reader::current(),
            cursor: None,
            current_of: None,
        }
    }

    fn next(&mut self, context: &mut ScanContext) -> Result<Attempt<Next>> {
        let next = self.next_row(context).map_err(|error| self.with_own_names(error));
        match next {
            Err(_) => self.counted.failed(),
            // A statement that runs locally does not count for the schema's node.
            Ok(Attempt::Replan) => self.counted = Counted::default(),
            Ok(_) => {}
        }
        next
    }

    fn has_started(&self) -> bool {
        self.done || self.execution.is_some() || self.kept.is_some() || self.cursor.is_some()
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
        let outcome = self.pass_on(context, to, &mut rows, &mut counted);
        let mut outcome = outcome.map_err(|error| self.with_own_names(error));
        // Errors on a replica only count if the primary fails, too.
        self.refuses_copies = self.on_copy;
        let repeat = |error| self.on_copy || Self::is_worth_repeating(context, error);
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

    fn open_cursor(&mut self, context: &mut ScanContext, cursor: &Cursor) -> Result<()> {
        self.declare(context, cursor)
    }

    fn rescan(&mut self) -> Result<()> {
        if let Some(cursor) = &mut self.cursor {
            return cursor.rewind();
        }
        self.end()?;
        self.done = false;
        self.emitted = 0;
        self.kept = None;
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.counted.done(0);
        if let Some(mut cursor) = self.cursor.take() {
            cursor.end_fetch()?;
        }
        let ended = self.execution.take().map_or(Ok(()), |mut execution| execution.close());
        if let (Some((node, numbers)), Ok(())) = (self.sent.take(), &ended) {
            super::shipping::forget(node, &numbers)?;
        }
        if nesting::depth() == 0 {
            transaction::close_portals(); // the portal here was closed by a message of the client's
        }
        ended
    }

    fn begin_parts(parts: &mut [Part<'_, Self>]) -> Result<()> {
        super::parts::open_together(parts)?;
        // One of each node begins at once; the others follow when it is their turn in the plan.
        let mut busy = Vec::new();
        for part in parts {
            let Some(node) = super::parts::place(&part.context)? else { continue };
            if busy.contains(&node) {
                continue;
            }
            busy.push(node);
            part.scan.counted = Counted::begin(part.context.plan().namespaces());
            if let Attempt::Done(execution) =
                part.scan.start(&mut part.context, None, Some(Fetch::Batch(BATCH)))?
            {
                part.scan.execution = Some(execution);
            }
        }
        Ok(())
    }

    fn before_explain(&mut self, context: &mut ScanContext) -> Result<()> {
        if let (Some(running), false) =
            (nesting::printing_explain(), context.plan().sql().is_empty())
        {
            self.explained =
                explain::on_node::<Self>(context, &running.options, explain::Runs::No)?;
            explain::show_figures(context, &self.explained);
        }
        Ok(())
    }

    fn explain(&mut self, context: &mut ScanContext, output: &mut ExplainOutput) -> Result<()> {
        explain::print::<Self>(context, &self.explained, output)
    }
}

impl NodeScan {
    fn next_row(&mut self, context: &mut ScanContext) -> Result<Attempt<Next>> {
        if self.done || context.plan().sql().is_empty() {
            return Ok(Attempt::Done(Next::End));
        }
        if context.is_part() {
            // Its node was asked when the cursor was opened, and conditions are tested here as well.
            self.check_reader(context)?;
        }
        if self.cursor.is_some() {
            return self.next_of_cursor(context).map(Attempt::Done);
        }
        self.check_direction(context)?;
        if self.execution.is_none() {
            if let Some(running) =
                nesting::executing_explain().filter(|r| r.analyze && context.rows_unwanted())
            {
                self.analyze(context, &running.options)?;
                return Ok(Attempt::Done(Next::End));
            }
            if self.kept.is_none() {
                self.counted = Counted::begin(context.plan().namespaces());
            }
            if self.copy_rows(context)? {
                return Ok(Attempt::Done(Next::End));
            }
            if self.kept.is_none()
                && self.portal.is_none()
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
            // Others of the same plan may use the session to the node in between.
            let limit = limit.or(context.is_part().then_some(BATCH));
            let started = match self.start(context, None, limit.map(Fetch::Batch)) {
                Err(_) if self.on_copy => self.start_again(context)?,
                started => started?,
            };
            let Attempt::Done(execution) = started else { return Ok(Attempt::Replan) };
            self.execution = Some(execution);
        }
        loop {
            let Some(execution) = &mut self.execution else { return Ok(Attempt::Replan) };
            let (counted, received) = (&mut self.counted, &mut self.received);
            let step = execution.step(&mut |row| {
                counted.answered();
                counted.row(row.len());
                *received += row.len() as u64;
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
            match step.map_err(|error| failed(&plan, error))? {
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
                    self.batch = larger_batch(self.batch, self.emitted, self.received);
                    execution.more(limit.unwrap_or(self.batch))?;
                    self.counted.resumed();
                }
            }
        }
    }
}
