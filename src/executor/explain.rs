//! EXPLAIN of a statement that runs on a node: the node's name and, beneath it, the node's own plan.

use super::remote_statement::{RemoteStatement, run};
use super::shipping;
use crate::catalog;
use crate::error::Result;
use crate::pg::exec::custom_scan::{Scan, ScanContext};
use crate::pg::exec::explain::{ExplainOutput, Format};
use crate::pg::exec::nesting;
use crate::pg::exec::result_columns::ResultColumns;
use crate::transaction::Mode;
use helios_core::{explained, frames};

/// Whether an EXPLAIN runs the statement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    Yes,
    No,
}

/// Runs `EXPLAIN (options)` of the scan's statement on its node; returns its output.
pub fn on_node<S: Scan>(context: &ScanContext, options: &str, runs: Runs) -> Result<Vec<String>> {
    let plan = context.plan();
    let mut params = context.params(plan.params());
    let node = super::locate(plan.namespaces())?;
    let sent = match runs {
        Runs::Yes => shipping::send::<S>(context, node)?,
        Runs::No => shipping::placeholders(context, node)?,
    };
    for (number, id) in sent.iter().zip(1..) {
        params.put_number((plan.params() + id) as usize, *number);
    }
    let mut sql = b"EXPLAIN ".to_vec();
    if !options.is_empty() {
        sql.extend(format!("({options}) ").bytes());
    }
    let before = sql.len() as i32;
    sql.extend_from_slice(plan.sql());
    let remote = RemoteStatement {
        node,
        sql: &sql,
        offset: plan.offset().map(|offset| offset - before),
        mode: Some(Mode::Transaction),
        writes: plan.writes(),
        unsettles: false,
        reuse: false,
        columns: ResultColumns::default(),
    };
    let mut lines = Vec::new();
    run(&remote, &mut params, &mut |row| {
        let first = frames::columns(row).ok().and_then(|mut c| c.next());
        if let Some(Ok(Some(text))) = first {
            lines.push(String::from_utf8_lossy(text).into_owned());
        }
        Ok(())
    })?;
    if runs == Runs::Yes {
        shipping::forget(node, &sent)?;
    }
    Ok(lines)
}

/// Shows the figures of the node's plan as those of the plan here.
pub fn show_figures(context: &mut ScanContext, explained: &[String]) {
    if let Some(figures) = explained::figures(&explained.join("\n")) {
        context.show_figures(&figures);
    }
}

/// Prints the node and its plan; `explained` is the latter, if it is known.
pub fn print<S: Scan>(
    context: &mut ScanContext,
    explained: &[String],
    output: &mut ExplainOutput,
) -> Result<()> {
    if context.plan().sql().is_empty() {
        output.property("Node", "the rule's action runs with the statement");
        return Ok(());
    }
    if context.runs_first() {
        output.property("Run First", &String::from_utf8_lossy(context.plan().sql()));
        return Ok(());
    }
    let node = catalog::node(super::locate(context.plan().namespaces())?)?;
    output.property("Node", &node.name);
    for source in context.plan().sources() {
        output.property("Sent First", &String::from_utf8_lossy(source.sql));
    }
    let lines = match nesting::printing_explain() {
        // The rows of a part were read without the node's figures.
        Some(running) if running.analyze && context.is_part() => {
            output.property("Remote SQL", &String::from_utf8_lossy(context.plan().sql()));
            return Ok(());
        }
        Some(running) if !running.analyze && explained.is_empty() => {
            on_node::<S>(context, &running.options, Runs::No)?
        }
        Some(_) => explained.to_vec(),
        // If the plan is printed without an EXPLAIN (auto_explain), show the text instead of querying the node again.
        None => {
            output.property("Remote SQL", &String::from_utf8_lossy(context.plan().sql()));
            return Ok(());
        }
    };
    match output.format() {
        Format::Text => output.lines(&lines),
        Format::Structured(_) => output.property("Node Plan", &lines.join("\n")),
    }
    Ok(())
}
