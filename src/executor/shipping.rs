//! Sends rows of other places to the node that a statement runs on, ahead of the statement.
//!
//! Invariant: nothing of them is left on the node behind the statement, or behind its transaction if it fails.

use super::random;
use crate::catalog::NodeId;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::pg::exec::custom_scan::{Scan, ScanContext};
use crate::remote::{Statement, Value};
use crate::transaction::{self, Fetch, Mode, Step};
use helios_core::frames;
use helios_core::node_interface::RECEIVE_ROWS;

/// Bytes sent at a time.
const CHUNK: usize = 256 << 10;

/// Signature, flags and length of an extension, in front of the rows of a COPY in binary format. A row is written as in a DataRow
/// message.
const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What ends them.
const COPY_END: [u8; 2] = (-1i16).to_be_bytes();

const INT8: u32 = 20;
const BYTEA: u32 = 17;

/// Runs the statement's sources and sends their rows; gives the number under which each was sent. `S` is what runs statements on
/// nodes.
pub fn send<S: Scan>(context: &ScanContext, node: NodeId) -> Result<Vec<i64>> {
    let plan = context.plan();
    check_node(context, node)?;
    let mut numbers = Vec::new();
    failpoint::hit(failpoint::SHIP_BEFORE)?;
    for source in plan.sources() {
        let number = random::number()?;
        let mut chunk = Vec::with_capacity(CHUNK);
        context.local_rows::<S>(source, plan.params(), &mut |row| {
            if !chunk.is_empty() && chunk.len() + row.len() > CHUNK {
                send_chunk(node, number, &chunk)?;
                chunk.clear();
            }
            chunk.extend((row.len() as u32).to_be_bytes());
            chunk.extend_from_slice(row);
            Ok(())
        })?;
        // One without rows as well: the statement asks for them.
        send_chunk(node, number, &chunk)?;
        numbers.push(number);
    }
    failpoint::hit(failpoint::SHIP_SENT)?;
    Ok(numbers)
}

/// Runs the statement's only source and copies its rows with `text`, a COPY in binary format; gives their number. `on_node` adds
/// to errors of the node's.
pub fn copy<S: Scan>(
    context: &ScanContext,
    node: NodeId,
    text: &[u8],
    on_node: &dyn Fn(Error) -> Error,
) -> Result<u64> {
    let plan = context.plan();
    failpoint::hit(failpoint::SHIP_BEFORE)?;
    let mut copy = transaction::copy(node, text, Mode::Transaction, None).map_err(on_node)?;
    copy.send(COPY_HEADER).map_err(on_node)?;
    for source in plan.sources() {
        let mut send = |row: &[u8]| copy.send(row).map_err(on_node);
        context.local_rows::<S>(source, plan.params(), &mut send)?;
    }
    copy.send(&COPY_END).map_err(on_node)?;
    failpoint::hit(failpoint::SHIP_SENT)?;
    let tag = copy.finish().map_err(on_node)?;
    Ok(frames::rows_affected(&tag).unwrap_or(0))
}

/// Numbers for an EXPLAIN that does not run the statement: nothing is sent, and nobody asks for the rows.
pub fn placeholders(context: &ScanContext, node: NodeId) -> Result<Vec<i64>> {
    check_node(context, node)?;
    Ok(vec![0; context.plan().sources().len()])
}

/// 55000 if the node's version of Helios cannot receive rows.
fn check_node(context: &ScanContext, node: NodeId) -> Result<()> {
    if !context.plan().has_sources() {
        return Ok(());
    }
    transaction::require_function(node, &RECEIVE_ROWS)
}

fn send_chunk(node: NodeId, number: i64, chunk: &[u8]) -> Result<()> {
    let number = number.to_be_bytes();
    let values =
        [Value { binary: true, bytes: Some(&number) }, Value { binary: true, bytes: Some(chunk) }];
    run(node, b"SELECT helios.receive_rows($1, $2)", &[INT8, BYTEA], &values)
}

/// Lets the node forget what was sent.
pub fn forget(node: NodeId, numbers: &[i64]) -> Result<()> {
    failpoint::hit(failpoint::FORGET_ROWS_BEFORE)?;
    for number in numbers {
        let number = number.to_be_bytes();
        let values = [Value { binary: true, bytes: Some(&number) }];
        run(node, b"SELECT helios.forget_rows($1)", &[INT8], &values)?;
    }
    Ok(())
}

fn run(node: NodeId, sql: &[u8], types: &[u32], values: &[Value<'_>]) -> Result<()> {
    let statement = Statement { types, values, reuse: true, ..Statement::plain(sql) };
    let mut execution = transaction::start(node, &statement, Mode::Transaction, Fetch::All, false)?;
    loop {
        if let Step::Complete(_) = execution.step(&mut |_| Ok(()))? {
            return Ok(());
        }
    }
}
