//! A cursor that is open on the node, and the rows that it was asked for.

use crate::catalog::NodeId;
use crate::error::{Error, Result};
use crate::pg::exec::custom_scan::ScanContext;
use crate::remote::Statement;
use crate::stats::Counted;
use crate::transaction::{Execution, NodeCursor};
use pgrx::pg_sys::errcodes::PgSqlErrorCode;

/// A cursor on a node.
pub(super) struct OpenCursor {
    cursor: NodeCursor,
    fetch: Option<Fetch>,
    /// Whether rows were asked for since it was before its first one.
    moved: bool,
}

/// The rows that were asked for last.
pub(super) struct Fetch {
    pub execution: Execution,
    backward: bool,
    /// Number of rows that were asked for.
    pub asked: u32,
    /// Number of those that have arrived.
    pub received: u32,
}

impl OpenCursor {
    /// One that stands before its first row.
    pub fn new(cursor: NodeCursor) -> Self {
        Self { cursor, fetch: None, moved: false }
    }

    /// Where it is.
    pub fn node(&self) -> NodeId {
        self.cursor.node()
    }

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
    pub fn ask(
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
