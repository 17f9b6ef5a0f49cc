//! One statement on its node, from its parameters to its last row: for what is run at once and not as a plan's node.

use super::{mode, position, types};
use crate::catalog::NodeId;
use crate::error::Result;
use crate::pg::exec::params::Params;
use crate::pg::exec::result_columns::ResultColumns;
use crate::remote::{Statement, Value};
use crate::transaction::{self, Fetch, Mode, Step};

/// What is to be run.
pub struct Request<'a> {
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
    request: &Request<'_>,
    params: &mut Params,
    on_row: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mode = request.mode.unwrap_or_else(mode);
    types::translate(params, request.node, mode)?;
    let values: Vec<Value> =
        params.values().map(|(binary, bytes)| Value { binary, bytes }).collect();
    let statement = Statement {
        sql: request.sql,
        types: params.types(),
        values: &values,
        result_formats: &[],
        reuse: request.reuse,
        columns: request.columns,
    };
    let moved = |error| position::relocate(error, request.offset, request.sql);
    let mut execution =
        transaction::start(request.node, &statement, mode, Fetch::All, request.writes)
            .map_err(moved)?;
    if request.unsettles {
        transaction::forget_settings_of(request.node);
    }
    loop {
        if let Step::Complete(_) = execution.step(on_row).map_err(moved)? {
            return Ok(());
        }
    }
}
