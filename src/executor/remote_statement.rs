//! One statement on its node, from its parameters to its last row, for callers without a plan: EXPLAIN, CALL, expressions,
//! sequences.

use super::{mode, position, remote_types};
use crate::catalog::NodeId;
use crate::error::Result;
use crate::pg::exec::params::Params;
use crate::pg::exec::result_columns::ResultColumns;
use crate::remote::{Statement, Value};
use crate::transaction::{self, Fetch, Mode, Step};

/// A statement for a node, with what its session has to know of it.
pub struct RemoteStatement<'a> {
    pub node: NodeId,
    pub sql: &'a [u8],
    /// Characters of the client's text before the statement, if it is the client's own.
    pub offset: Option<i32>,
    /// None: as the statement that runs now.
    pub mode: Option<Mode>,
    pub writes: bool,
    /// It may change settings or the role there by itself.
    pub unsettles: bool,
    /// Worth keeping prepared.
    pub reuse: bool,
    /// What the result's columns must be.
    pub columns: ResultColumns,
}

/// Runs it; gives every row, with its columns as text, to `on_row`.
pub fn run(
    remote: &RemoteStatement<'_>,
    params: &mut Params,
    on_row: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mode = remote.mode.unwrap_or_else(mode);
    remote_types::translate(params, remote.node, mode)?;
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
    let moved = |error| position::relocate(error, remote.offset, remote.sql);
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
