//! EXPLAIN of a statement that runs on a node: the node's name and, beneath it, the node's own plan.

use super::remote_statement::{RemoteStatement, run};
use super::shipping;
use crate::catalog;
use crate::error::Result;
use crate::pg::exec::custom_scan::ScanContext;
use crate::pg::exec::explain::{ExplainOutput, Format};
use crate::pg::exec::nesting;
use crate::pg::exec::result_columns::ResultColumns;
use crate::transaction::Mode;
use helios_core::frames;

/// Whether an EXPLAIN runs the statement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    Yes,
    No,
}

/// Runs `EXPLAIN (options)` of the scan's statement on its node; returns its output.
pub fn on_node(context: &ScanContext, options: &str, runs: Runs) -> Result<Vec<String>> {
    let plan = context.plan();
    let mut params = context.params(plan.params());
    let node = super::locate(plan.namespaces())?;
    let sent = match runs {
        Runs::Yes => shipping::send(context, node)?,
        // Nobody asks for the rows of these.
        Runs::No => vec![0; plan.sources().len()],
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

/// Prints the node and its plan; `analyzed` is the output of an execution, if there was one.
pub fn print(
    context: &mut ScanContext,
    analyzed: &[String],
    output: &mut ExplainOutput,
) -> Result<()> {
    if context.plan().sql().is_empty() {
        output.property("Node", "the rule's action runs with the statement");
        return Ok(());
    }
    let node = catalog::node(super::locate(context.plan().namespaces())?)?;
    output.property("Node", &node.name);
    for source in context.plan().sources() {
        output.property("Sent First", &String::from_utf8_lossy(source));
    }
    let lines = match nesting::printing_explain() {
        Some(running) if !running.analyze => on_node(context, &running.options, Runs::No)?,
        Some(_) => analyzed.to_vec(),
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
