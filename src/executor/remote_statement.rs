//! Executes one statement on its node, from its parameters to its last row, for callers without a plan: EXPLAIN, CALL,
//! expressions, sequences.

use super::{absent, mode, position, remote_types};
use crate::catalog::NodeId;
use crate::error::Result;
use crate::pg::exec::nesting;
use crate::pg::exec::params::Params;
use crate::pg::exec::result_columns::ResultColumns;
use crate::remote::{Statement, Value};
use crate::transaction::{self, Fetch, Mode, Step};

/// A statement for a node, with the properties that its session needs.
pub struct RemoteStatement<'a> {
    pub node: NodeId,
    pub sql: &'a [u8],
    /// Number of characters that precede it in the client's text, if it is the client's own.
    pub offset: Option<i32>,
    /// None to use the mode of the current statement.
    pub mode: Option<Mode>,
    pub writes: bool,
    /// It may itself change settings or the role on the node.
    pub unsettles: bool,
    /// Worth preparing.
    pub reuse: bool,
    /// The expected result columns.
    pub columns: ResultColumns,
}

/// Runs it; passes every row, with its columns as text, to `on_row`.
pub fn run(
    remote: &RemoteStatement<'_>,
    params: &mut Params,
    on_row: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mode = remote.mode.unwrap_or_else(mode);
    remote_types::translate(params, nesting::is_nested(), remote.node, mode)?;
    let values: Vec<Value> =
        params.values().map(|(binary, bytes)| Value { binary, bytes }).collect();
    let statement = Statement {
        sql: remote.sql,
        types: params.types(),
        values: &values,
        result_formats: &[],
        reuse: remote.reuse,
        columns: remote.columns,
    };
    let moved = |error| {
        let error = absent::explain_on(error, remote.node, None);
        position::relocate(error, remote.offset, remote.sql)
    };
    let mut execution =
        transaction::start(remote.node, &statement, mode, Fetch::All, remote.writes)
            .map_err(moved)?;
    if remote.unsettles {
        transaction::forget_settings_of(remote.node);
    }
    loop {
        if let Step::Complete(_) = execution.step(on_row).map_err(moved)? {
            return Ok(());
        }
    }
}
