//! Rows of a cursor, which is open on the node from the moment when it is opened here.

use super::batches::larger_batch;
use super::open_cursor::OpenCursor;
use super::{NodeScan, failed};
use crate::error::{Error, Result};
use crate::pg::exec::cursor::Cursor;
use crate::pg::exec::custom_scan::{Attempt, Next, ScanContext};
use crate::remote::{Statement, Value};
use crate::stats::Counted;
use crate::transaction::{self, Mode, NodeCursor, Step};
use pgrx::pg_sys::errcodes::PgSqlErrorCode;

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
        self.cursor = Some(OpenCursor::new(declared));
        Ok(())
    }

    /// 55000 for rows in the other direction from a statement that is no cursor on its node, because its schema was moving when
    /// it was opened.
    pub(super) fn check_direction(&self, context: &ScanContext) -> Result<()> {
        if !context.is_backward() {
            return Ok(());
        }
        Err(Error::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "cursor can only scan forward",
        )
        .hint("Open the cursor again: its schema was moving when it was opened."))
    }

    /// The next row of the cursor, or the previous one.
    pub(super) fn next_of_cursor(&mut self, context: &mut ScanContext) -> Result<Next> {
        self.reader.check_next(&context.plan())?;
        let Some(cursor) = &mut self.cursor else { return Ok(Next::End) };
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
        self.emitted += u64::from(is_row);
        // The session is free for others when all rows have been given.
        if !is_row || fetch.received == fetch.asked {
            cursor.end_fetch().map_err(|error| failed(&plan, error))?;
            if plan.unsettles() {
                transaction::forget_settings_of(cursor.node());
            }
            self.batch = larger_batch(self.batch, self.emitted, self.received);
        }
        if !is_row {
            return Ok(Next::End);
        }
        context.add_processed(1);
        Ok(Next::Row)
    }
}
