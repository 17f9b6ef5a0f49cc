//! COPY on a node: transfers its data in either direction, unchanged.

use super::execution::{Reader, Step, borrow};
use super::{Mode, links};
use crate::catalog::NodeId;
use crate::error::{Error, Result};
use crate::pg::session::xact;
use crate::remote::{Statement, messages};
use helios_core::frames::{CopyResponse, copy_response};
use pgrx::pg_sys::errcodes::PgSqlErrorCode;

/// A COPY in progress. If it is dropped before its end, the session aborts it with its next request or at the end of
/// the transaction.
pub struct Copy {
    reader: Reader,
    response: CopyResponse,
}

/// Starts a COPY. With `client_encoding` the data is in that encoding, otherwise in the database's.
pub fn copy(node: NodeId, sql: &[u8], mode: Mode, client_encoding: Option<&str>) -> Result<Copy> {
    let link = links::link(node)?;
    let mut l = borrow(&link)?;
    // The direction is not known yet; treating a read-only COPY that fails as a write costs nothing.
    let written = l.begin(mode, true).and_then(|()| {
        l.bind(&Statement::plain(sql), None)?;
        if let Some(encoding) = client_encoding {
            l.use_encoding(encoding)?;
        }
        l.execute(None)
    });
    if let Err(error) = written {
        l.discard_request();
        return Err(error);
    }
    l.session.ask();
    let stream = l.send(xact::nest_level())?;
    let (kind, response) = l.advance_to_copy()?;
    let response = copy_response(&response).map_err(|_| l.session.unexpected(kind))?;
    if kind == b'H' {
        l.end_copy()?;
    }
    drop(l);
    Ok(Copy { reader: Reader { link, stream }, response })
}

impl Copy {
    /// Overall format (0 text, 1 binary) and formats of the columns.
    pub fn format(&self) -> (i8, &[i16]) {
        (self.response.format, &self.response.columns)
    }

    /// Sends data to the node. An error on the node ends the COPY.
    pub fn send(&mut self, data: &[u8]) -> Result<()> {
        let mut link = borrow(&self.reader.link)?;
        for piece in data.chunks(1 << 24) {
            messages::copy_data(link.session.output(), piece)?;
            if link.session.unsent() >= 64 * 1024 {
                link.push_copy()?;
            }
        }
        Ok(())
    }

    /// Ends the data; returns the command tag.
    pub fn finish(mut self) -> Result<String> {
        let mut link = borrow(&self.reader.link)?;
        messages::bare(link.session.output(), b'c');
        link.ask_for_id()?;
        link.end_copy()?;
        drop(link);
        self.tag()
    }

    /// Aborts the COPY because of the client; returns the node's error.
    pub fn fail(mut self, reason: &str) -> Error {
        match self.end_failed(reason).and_then(|()| self.tag()) {
            Err(error) => error,
            Ok(_) => Error::new(
                PgSqlErrorCode::ERRCODE_QUERY_CANCELED,
                format!("COPY from stdin failed: {reason}"),
            ),
        }
    }

    fn end_failed(&mut self, reason: &str) -> Result<()> {
        let mut link = borrow(&self.reader.link)?;
        messages::copy_fail(link.session.output(), reason)?;
        link.end_copy()
    }

    /// Receives the next piece of data from the node; the command tag at the end.
    pub fn receive(
        &mut self,
        on_data: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Option<String>> {
        match self.reader.step(on_data)? {
            Step::Complete(tag) => Ok(Some(tag)),
            Step::Row | Step::Suspended => Ok(None),
        }
    }

    fn tag(&mut self) -> Result<String> {
        loop {
            if let Some(tag) = self.receive(&mut |_| Ok(()))? {
                return Ok(tag);
            }
        }
    }
}
