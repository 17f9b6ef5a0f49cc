//! Rows of a cursor, which is open on the node from the moment when it is opened here.

use super::{NodeScan, failed, larger_batch};
use crate::catalog::NodeId;
use crate::error::{Error, Result};
use crate::pg::exec::cursor::Cursor;
use crate::pg::exec::custom_scan::{Attempt, Next, ScanContext};
use crate::remote::{Statement, Value};
use crate::stats::Counted;
use crate::transaction::{self, Execution, Mode, NodeCursor, Step};
use pgrx::pg_sys::errcodes::PgSqlErrorCode;

/// A cursor on a node.
pub(super) struct OpenCursor {
    cursor: NodeCursor,
    fetch: Option<Fetch>,
    /// Whether rows were asked for since it was before its first one.
    moved: bool,
}

/// The rows that were asked for last.
struct Fetch {
    execution: Execution,
    backward: bool,
    asked: u32,
    received: u32,
}

impl OpenCursor {
    /// See [`NodeCursor::name_in_session`].
    pub fn name_in_session(&self, node: NodeId) -> Result<Option<&str>> {
        self.cursor.name_in_session(node)
    }

    /// Moves it before its first row.
    pub fn rewind(&mut self) -> Result<()> {
        self.fetch = None;
        if std::mem::take(&mut self.moved) { self.cursor.rewind() } else { Ok(()) }
    }

    /// Ends the request for rows.
    pub fn end_fetch(&mut self) -> Result<()> {
        self.fetch.take().map_or(Ok(()), |mut fetch| fetch.execution.close())
    }

    /// Asks for rows if there are none left of those that were asked for: as many as the executor wants, or `batch`.
    ///
    /// Errors: XX000 if there are some left and the direction changes, which the executor does not do.
    fn ask(
        &mut self,
        context: &mut ScanContext,
        batch: u32,
        counted: &mut Counted,
    ) -> Result<&mut Fetch> {
        let backward = context.is_backward();
        if self.fetch.as_ref().is_some_and(|fetch| fetch.backward != backward) {
            return Err(Error::new(
                PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
                "cursor on a node changes its direction with rows left",
            ));
        }
        if self.fetch.is_none() {
            let limit = u32::try_from(context.limit()).ok().filter(|&limit| limit > 0);
            let asked = limit.unwrap_or(batch);
            let formats = context.formats()?;
            let plan = context.plan();
            let wanted = Statement {
                result_formats: &formats,
                columns: plan.columns(),
                ..Statement::plain(b"")
            };
            let execution = self.cursor.fetch(asked, backward, &wanted)?;
            counted.resumed();
            self.moved = true;
            self.fetch = Some(Fetch { execution, backward, asked, received: 0 });
        }
        self.fetch.as_mut().ok_or_else(|| {
            Error::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "cursor on a node gives no rows")
        })
    }
}

impl NodeScan {
    /// Declares the cursor on the node of its statement. If its schema has just moved, it is planned again when its first
    /// row is wanted.
    pub(super) fn declare(&mut self, context: &mut ScanContext, cursor: &Cursor) -> Result<()> {
        if context.plan().sql().is_empty() || context.plan().has_sources() {
            return Ok(());
        }
        self.reader.check_begin(&context.plan())?;
        let Attempt::Done(node) = self.place(context, false)? else { return Ok(()) };
        let plan = context.plan();
        let mut params = context.params(plan.params());
        if params.has_user_types() {
            let enclosed = self.reader.is_enclosed();
            crate::executor::remote_types::translate(
                &mut params,
                enclosed,
                node,
                Mode::Transaction,
            )?;
        }
        let values: Vec<Value> =
            params.values().map(|(binary, bytes)| Value { binary, bytes }).collect();
        let query =
            Statement { types: params.types(), values: &values, ..Statement::plain(plan.sql()) };
        self.counted = Counted::begin(plan.namespaces());
        let counted = &mut self.counted;
        let (declared, scrolls) =
            NodeCursor::declare(node, cursor.direction, &query, plan.writes()).map_err(
                |error| {
                    counted.failed();
                    failed(&plan, error)
                },
            )?;
        if !scrolls {
            cursor.moves_forward();
        }
        self.cursor = Some(OpenCursor { cursor: declared, fetch: None, moved: false });
        Ok(())
    }

    /// The next row of the cursor, or the previous one.
    pub(super) fn next_of_cursor(&mut self, context: &mut ScanContext) -> Result<Next> {
        self.reader.check_next(&context.plan())?;
        let Some(cursor) = &mut self.cursor else { return Ok(Next::End) };
        loop {
            let (counted, received) = (&mut self.counted, &mut self.received);
            let fetch = cursor.ask(context, self.batch, counted)?;
            let step = fetch.execution.step(&mut |row| {
                counted.answered();
                counted.row(row.len());
                *received += row.len() as u64;
                context.store(row)
            });
            let plan = context.plan();
            let is_row = step.map_err(|error| failed(&plan, error))? == Step::Row;
            fetch.received += u32::from(is_row);
            let left = fetch.asked - fetch.received;
            self.emitted += u64::from(is_row);
            // The session is free for others when all rows have been given.
            if !is_row || left == 0 {
                cursor.end_fetch().map_err(|error| failed(&plan, error))?;
                if plan.unsettles() {
                    transaction::forget_settings_of(cursor.cursor.node());
                }
                self.batch = larger_batch(self.batch, self.emitted, self.received);
            }
            if is_row {
                context.add_processed(1);
                return Ok(Next::Row);
            }
            if left > 0 {
                return Ok(Next::End);
            }
        }
    }
}
