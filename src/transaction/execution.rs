//! Execution of a statement on a node, read row by row.

use super::link::Link;
use super::links;
use super::mode::{Fetch, Mode};
use super::result_stream::{Outcome, ResultStream, row_at};
use crate::catalog::NodeId;
use crate::error::{Error, Result};
use crate::pg::exec::result_columns::ResultColumns;
use crate::pg::ipc::wait::explain_cancel;
use crate::remote::{Statement, WaitPolicy, text_row};
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::cell::{RefCell, RefMut};
use std::rc::Rc;

/// Bytes of rows to discard before an abandoned statement is canceled instead.
const DISCARD: usize = 1 << 20;

/// Result of [`Execution::step`].
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A row was passed to the callback.
    Row,
    /// The batch is complete, the portal is not.
    Suspended,
    /// The command is complete, with its tag.
    Complete(String),
}

/// A statement being executed. Dropping it never fails and never waits: remaining rows are discarded with the session's
/// next request, or at the end of the transaction.
pub struct Execution {
    reader: Reader,
    portal: Option<u32>,
    mode: Mode,
    writes: bool,
}

/// Sends a statement to a node. `writes`: it may change data there.
pub fn start(
    node: NodeId,
    st: &Statement<'_>,
    mode: Mode,
    fetch: Fetch,
    writes: bool,
) -> Result<Execution> {
    let link = links::link(node)?;
    let mut l = borrow(&link)?;
    let portal = match fetch {
        Fetch::All => None,
        Fetch::Batch(rows) => Some((l.new_portal(), rows)),
    };
    let mode = if portal.is_some() { Mode::Transaction } else { mode };
    let stream = l.request(st, mode, portal, writes)?;
    drop(l);
    let reader = Reader { link, stream };
    Ok(Execution { reader, portal: portal.map(|(number, _)| number), mode, writes })
}

/// Links are not borrowed while other code runs, so this fails only if that rule is broken.
pub(super) fn borrow(link: &RefCell<Link>) -> Result<RefMut<'_, Link>> {
    link.try_borrow_mut().map_err(|_| {
        Error::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "session with a node is already in use")
    })
}

impl Execution {
    /// A portal, whose rows the reader gets.
    pub(super) fn of_portal(reader: Reader, portal: u32) -> Self {
        Self { reader, portal: Some(portal), mode: Mode::Transaction, writes: false }
    }

    /// One whose request was sent on a link.
    pub(super) fn of_request(
        link: Rc<RefCell<Link>>,
        stream: Rc<RefCell<ResultStream>>,
        writes: bool,
    ) -> Self {
        Self { reader: Reader { link, stream }, portal: None, mode: Mode::Transaction, writes }
    }

    /// Reads the next event. `on_row` gets the body of one DataRow message; it may run statements on the same node.
    /// Notices are raised as they arrive.
    #[inline]
    pub fn step(&mut self, on_row: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<Step> {
        self.reader.step(on_row)
    }

    /// Requests the next rows after [`Step::Suspended`].
    pub fn more(&mut self, batch: u32) -> Result<()> {
        let mut link = borrow(&self.reader.link)?;
        if link.session.is_lost() {
            return Err(links::lost_earlier(&link));
        }
        let (number, level) = match self.portal.map(|number| (number, link.portal_level(number))) {
            Some((number, Some(level))) => (number, level),
            _ => {
                return Err(Error::new(
                    PgSqlErrorCode::ERRCODE_INVALID_CURSOR_NAME,
                    "cannot fetch from a portal on the node because its transaction has ended",
                ));
            }
        };
        let written =
            link.begin(self.mode, self.writes).and_then(|()| link.execute(Some((number, batch))));
        if let Err(error) = written {
            link.discard_request();
            return Err(error);
        }
        self.reader.stream = link.submit_at(level)?;
        Ok(())
    }

    /// Ends the statement early. Remaining rows are read and discarded; a read-only statement that is alone in its
    /// transaction is canceled if that takes long. An error in the discarded part is raised if the statement writes.
    pub fn close(&mut self) -> Result<()> {
        let mut link = borrow(&self.reader.link)?;
        if let Some(portal) = self.portal.take() {
            link.close_portal(portal);
        }
        let (mut discarded, mut cancelled) = (0, false);
        while link.is_current(&self.reader.stream) {
            let Some(row) = link.advance(WaitPolicy::Interruptible)? else { break };
            discarded += row.len();
            if discarded > DISCARD && !cancelled && link.may_cancel() {
                cancelled = link.session.request_cancel();
                discarded = 0;
            }
        }
        match self.reader.stream.borrow_mut().outcome.take() {
            Some(Outcome::Failed(error)) if !cancelled => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        if let (Some(portal), Ok(mut link)) = (self.portal, self.reader.link.try_borrow_mut()) {
            link.close_portal(portal);
        }
    }
}

/// Reads the result of one request on a link.
pub(super) struct Reader {
    pub link: Rc<RefCell<Link>>,
    pub stream: Rc<RefCell<ResultStream>>,
}

impl Reader {
    /// Reads the next event.
    #[inline]
    pub fn step(&mut self, on_row: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<Step> {
        if self.step_kept(on_row)? {
            return Ok(Step::Row);
        }
        let frame = {
            let mut link = borrow(&self.link)?;
            if link.is_current(&self.stream) {
                link.advance(WaitPolicy::Interruptible)?
            } else {
                None
            }
        };
        match frame {
            Some(row) => on_row(&row).map(|()| Step::Row),
            None => self.outcome(),
        }
    }

    /// Returns a row that was prefetched because another statement needed the session.
    #[inline]
    fn step_kept(&mut self, on_row: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<bool> {
        let Some((rows, at)) = self.stream.borrow_mut().take_rows() else { return Ok(false) };
        let Some((row, next)) = row_at(&rows, at) else { return Ok(false) };
        let result = on_row(row);
        self.stream.borrow_mut().put_rows(rows, next);
        result.map(|()| true)
    }

    fn outcome(&mut self) -> Result<Step> {
        match self.stream.borrow_mut().outcome.take() {
            Some(Outcome::Complete(tag)) => Ok(Step::Complete(tag)),
            Some(Outcome::Suspended) => Ok(Step::Suspended),
            Some(Outcome::Failed(error)) => {
                let cancelled = error.is(PgSqlErrorCode::ERRCODE_QUERY_CANCELED);
                Err(if cancelled { explain_cancel(error) } else { error })
            }
            None => Err(Error::new(
                PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
                "attempt to read past the end of a statement on a node",
            )),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Ok(mut stream) = self.stream.try_borrow_mut() {
            stream.abandoned = true;
        }
    }
}

/// Runs a statement whose rows are ignored; returns the command tag.
pub fn execute(node: NodeId, sql: &[u8], mode: Mode, writes: bool) -> Result<String> {
    let mut execution = start(node, &Statement::plain(sql), mode, Fetch::All, writes)?;
    loop {
        if let Step::Complete(tag) = execution.step(&mut |_| Ok(()))? {
            return Ok(tag);
        }
    }
}

/// Runs writing statements in one round trip; returns the number of rows that they changed.
pub fn execute_all(node: NodeId, statements: &[Vec<u8>]) -> Result<u64> {
    let Some((last, ahead)) = statements.split_last() else { return Ok(0) };
    let link = links::link(node)?;
    let mut l = borrow(&link)?;
    let written = l.begin(Mode::Transaction, true).and_then(|()| {
        ahead.iter().try_for_each(|sql| l.ahead(sql))?;
        l.bind(&Statement::plain(last), None)?;
        l.execute(None)?;
        l.ask_for_id()
    });
    if let Err(error) = written {
        l.discard_request();
        return Err(error);
    }
    let stream = l.submit()?;
    drop(l);
    let mut reader = Reader { link, stream };
    loop {
        if let Step::Complete(tag) = reader.step(&mut |_| Ok(()))? {
            let rows = helios_core::frames::rows_affected(&tag).unwrap_or(0);
            return Ok(reader.stream.borrow().counted + rows);
        }
    }
}

/// Describes a query on the node without running it.
///
/// Errors: 42804 if its result has different columns.
pub fn check_columns(node: NodeId, sql: &[u8], columns: ResultColumns, mode: Mode) -> Result<()> {
    let link = links::link(node)?;
    let mut l = borrow(&link)?;
    if let Err(error) = l.begin(mode, false).and_then(|()| l.describe(sql, columns)) {
        l.discard_request();
        return Err(error);
    }
    let stream = l.submit()?;
    drop(l);
    Reader { link, stream }.step(&mut |_| Ok(())).map(|_| ())
}

/// Runs a read-only statement and returns its rows as text.
pub fn query(node: NodeId, sql: &[u8], mode: Mode) -> Result<Vec<Vec<Option<String>>>> {
    rows_of(node, sql, mode, false)
}

/// Runs a writing statement and returns its rows as text.
pub fn query_that_writes(node: NodeId, sql: &[u8], mode: Mode) -> Result<Vec<Vec<Option<String>>>> {
    rows_of(node, sql, mode, true)
}

fn rows_of(node: NodeId, sql: &[u8], mode: Mode, writes: bool) -> Result<Vec<Vec<Option<String>>>> {
    let mut execution = start(node, &Statement::plain(sql), mode, Fetch::All, writes)?;
    let mut rows = Vec::new();
    loop {
        let step = execution.step(&mut |row| {
            rows.push(text_row(row));
            Ok(())
        })?;
        if let Step::Complete(_) = step {
            return Ok(rows);
        }
    }
}
