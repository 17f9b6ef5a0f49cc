//! The executor node that runs one statement on one node.

use super::explain;
use crate::error::{Error, Result};
use crate::pg::client;
use crate::pg::custom_scan::{ClientRows, Scan, ScanContext};
use crate::pg::explain::ExplainOutput;
use crate::remote::{Statement, Value};
use crate::transaction::{self, Execution, Fetch, Mode, Step};
use helios_core::frames;

/// Rows fetched at a time where the executor does not say how many it wants.
const BATCH: u32 = 1000;
/// Rows passed to the client between two checks for interrupts.
const ROWS_BETWEEN_CHECKS: u64 = 64;

/// A statement on its way through a node.
#[derive(Default)]
pub struct NodeScan {
    execution: Option<Execution>,
    done: bool,
    /// The node's plan with its figures, if EXPLAIN ANALYZE ran the statement.
    analyzed: Vec<String>,
}

impl NodeScan {
    /// A scan that has not started.
    pub fn boxed() -> Box<dyn Scan> {
        Box::<Self>::default()
    }

    fn start(
        &self,
        context: &ScanContext,
        formats: &[i16],
        fetch: Option<Fetch>,
    ) -> Result<Execution> {
        let plan = context.plan();
        let mut params = context.params(plan.params());
        let node = super::locate(plan.namespaces())?;
        let mode = super::mode();
        super::types::translate(&mut params, node, mode)?;
        let values: Vec<Value> =
            params.values().map(|(binary, bytes)| Value { binary, bytes }).collect();
        let fetch = match fetch {
            Some(fetch) => fetch,
            None if mode == Mode::Autocommit => Fetch::All,
            None => Fetch::Batch(BATCH),
        };
        let mode = if matches!(fetch, Fetch::All) { mode } else { Mode::Transaction };
        let statement = Statement {
            sql: plan.sql(),
            types: params.types(),
            values: &values,
            result_formats: formats,
            reuse: !params.is_empty() || crate::pg::nesting::depth() > 1,
        };
        if plan.writes() {
            plan.namespaces().take(1).for_each(super::note_write);
        }
        transaction::start(node, &statement, mode, fetch, plan.writes())
            .map_err(|error| relocate(error, plan.offset(), plan.sql()))
    }

    fn finished(&mut self, context: &mut ScanContext, tag: &str) {
        context.add_processed(frames::rows_affected(tag).unwrap_or(0));
        self.done = true;
        self.execution = None;
    }

    /// Runs the statement under EXPLAIN ANALYZE on the node and keeps what that prints.
    fn analyze(&mut self, context: &ScanContext, options: &str) -> Result<()> {
        self.analyzed = explain::on_node(context, options)?;
        self.done = true;
        Ok(())
    }
}

impl Scan for NodeScan {
    fn next(&mut self, context: &mut ScanContext) -> Result<bool> {
        if self.done || context.plan().sql().is_empty() {
            return Ok(false);
        }
        if self.execution.is_none() {
            if let Some(running) = crate::pg::explain::running().filter(|r| r.analyze) {
                self.analyze(context, &running.options)?;
                return Ok(false);
            }
            let limit = u32::try_from(context.limit()).ok().filter(|&limit| limit > 0);
            self.execution = Some(self.start(context, &[], limit.map(Fetch::Batch))?);
        }
        loop {
            let Some(execution) = &mut self.execution else { return Ok(false) };
            let step = execution.step(&mut |row| context.store(row));
            let plan = context.plan();
            match step.map_err(|error| relocate(error, plan.offset(), plan.sql()))? {
                Step::Row => return Ok(true),
                Step::Complete(tag) => {
                    self.finished(context, &tag);
                    return Ok(false);
                }
                Step::Suspended => {
                    let limit = u32::try_from(context.limit()).ok().filter(|&limit| limit > 0);
                    execution.more(limit.unwrap_or(BATCH))?;
                }
            }
        }
    }

    fn has_started(&self) -> bool {
        self.done || self.execution.is_some()
    }

    fn run_to_client(&mut self, context: &mut ScanContext, to: &ClientRows) -> Result<u64> {
        if context.plan().sql().is_empty() {
            return Ok(0);
        }
        let mut execution = self.start(context, &to.formats, Some(Fetch::All))?;
        let mut rows = 0;
        let mut forward = |row: &[u8]| {
            client::send(b'D', row);
            rows += 1;
            if rows % ROWS_BETWEEN_CHECKS == 0 {
                client::check_for_interrupts();
            }
            Ok(())
        };
        loop {
            let step = execution.step(&mut forward);
            let plan = context.plan();
            if let Step::Complete(_) =
                step.map_err(|error| relocate(error, plan.offset(), plan.sql()))?
            {
                self.done = true;
                return Ok(rows);
            }
        }
    }

    fn rescan(&mut self) -> Result<()> {
        self.end()?;
        self.done = false;
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        match self.execution.take() {
            Some(mut execution) => execution.close(),
            None => Ok(()),
        }
    }

    fn explain(&mut self, context: &mut ScanContext, output: &mut ExplainOutput) -> Result<()> {
        explain::print(context, &self.analyzed, output)
    }
}

/// Moves an error's position from the text that was sent to the client's text, or names the text that was sent.
pub fn relocate(mut error: Error, offset: Option<i32>, sql: &[u8]) -> Error {
    let fields = error.fields_mut();
    if let Some(position) = fields.position.take() {
        match offset {
            Some(offset) => fields.position = Some(position + offset),
            None => {
                fields.internal_position = Some(position);
                fields.internal_query = Some(sql.to_vec());
            }
        }
    }
    error
}
