//! A connection to a node: sends and receives messages, with interruptible waits.

mod failure;
mod input;
pub mod simple_query;

pub use simple_query::{Answer, wait_for_any};

use super::cancel::CancelKey;
use super::messages;
use super::reply::Report;
use super::stream::Stream;
use crate::error::{Error, Result};
use crate::pg::error::notify;
use crate::pg::ipc::wait::{
    Interest, SocketWait, Woken, bounded, check_for_interrupts, due, exit_with_postmaster,
    hold_cancels, hold_interrupts, last_moment, owe_latch,
};
use crate::pg::session::encoding;
use crate::shared::backends::{self, LongWait};
use helios_core::frames::{Frame, FrameBuffer};
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The size up to which the output buffer is kept, and of the pieces in which COPY data is sent.
const OUTPUT: usize = 256 * 1024;
/// How long to wait for a node, and whether interrupts are processed.
#[derive(Clone, Copy, Debug)]
pub enum WaitPolicy {
    /// Until it responds, or an interrupt of this backend raises an error.
    Interruptible,
    /// Like `Interruptible`, with a deadline.
    InterruptibleUntil(Instant),
    /// Where no error may be raised (abort, after commit): until the deadline, and not much longer than the client's
    /// statement may take.
    Until(Instant),
    /// For a COMMIT that has been sent: an interrupt, or the expiry of `statement_timeout`, is forwarded to the node,
    /// whose response counts if it comes at once. Afterwards cancel requests are ignored until the local transaction
    /// has ended, too.
    Commit,
}

/// Kind of a request without Sync so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Request,
    CopyIn,
}

/// A connection to a node. After any failure caused by a lost connection, [`Session::is_lost`] is true: such a session
/// can only be dropped.
pub struct Session {
    wait: SocketWait, // before the stream: its set must go before the socket is closed
    stream: Stream,
    input: FrameBuffer,
    output: Vec<u8>,
    sent: usize,
    /// A request was just sent, so an immediate read would find nothing.
    await_reply: bool,
    node: Rc<str>,
    /// Encoding of the node's messages, if it is not this database's.
    foreign_encoding: Option<String>,
    cancel: Option<Rc<CancelKey>>,
    parameters: Vec<(String, String)>,
    /// Number of outstanding ReadyForQuery messages.
    outstanding: u32,
    open: Open,
    status: u8,
    lost: bool,
    /// Deadline for all waits of callers that must not wait indefinitely.
    time_limit: Option<Instant>,
    /// The node was asked to cancel the COMMIT that it has been sent.
    asked_to_stop: bool,
    /// A cancel request was sent, and it is unknown whether the node has processed it.
    cancel_pending: Cell<bool>,
    /// PIDs here of the deadlock that was resolved by canceling this session's statement.
    deadlock: Vec<i32>,
    /// The node's ID and this session's PID there, if they are published to other backends.
    shown: Option<(i32, i32)>,
}

impl Session {
    pub(super) fn new(stream: Stream, wait: SocketWait, node: Rc<str>) -> Self {
        Self {
            wait,
            stream,
            input: FrameBuffer::default(),
            output: Vec::new(),
            sent: 0,
            await_reply: false,
            node,
            foreign_encoding: None,
            cancel: None,
            parameters: Vec::new(),
            outstanding: 1, // the start-up's
            open: Open::Nothing,
            status: b'I',
            lost: false,
            time_limit: None,
            asked_to_stop: false,
            cancel_pending: Cell::new(false),
            deadlock: Vec::new(),
            shown: None,
        }
    }

    pub(super) fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    pub(super) fn set_cancel_key(&mut self, key: Rc<CancelKey>) {
        self.cancel = Some(key);
    }

    /// Publishes the session for deadlock detection.
    pub fn show(&mut self, node: i32) {
        if let Some(key) = &self.cancel {
            backends::opened(node, key.process());
            self.shown = Some((node, key.process()));
        }
    }

    /// The last value reported by the node for a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// For servers that have it (see [`Self::has_transaction_timeout`]); others reject it as a startup parameter. Like
    /// the other timeouts, it is not meant for sessions between servers.
    pub const NO_TRANSACTION_TIMEOUT: &str = "SET transaction_timeout = 0";

    /// Whether the server has transaction_timeout.
    pub fn has_transaction_timeout(&self) -> bool {
        let version = self.parameter("server_version").unwrap_or_default();
        let digits = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        digits.parse::<u32>().is_ok_and(|major| major >= 17)
    }

    /// Transaction status in the last ReadyForQuery: `I` idle, `T` in a block, `E` in an aborted block.
    pub fn status(&self) -> u8 {
        self.status
    }

    /// Whether the connection is lost.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether responses are outstanding.
    pub fn is_busy(&self) -> bool {
        self.outstanding > 0
    }

    /// Sets the encoding of the node's messages; None for the database's.
    #[inline]
    pub fn set_foreign_encoding(&mut self, encoding: Option<String>) {
        self.foreign_encoding = encoding;
    }

    /// Whether the node's messages use another encoding than the database's.
    pub fn has_foreign_encoding(&self) -> bool {
        self.foreign_encoding.is_some()
    }

    /// Whether the session is idle: no outstanding responses, nothing half sent, no COPY.
    pub fn is_at_rest(&self) -> bool {
        self.outstanding == 0 && self.open == Open::Nothing && self.unsent() == 0
    }

    /// Whether bytes have arrived that were not processed yet.
    pub fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Whether a request has not been terminated by Sync yet.
    pub fn is_open(&self) -> bool {
        self.open != Open::Nothing
    }

    /// The output buffer; [`Self::flush`] sends it.
    pub fn output(&mut self) -> &mut Vec<u8> {
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
        }
        &mut self.output
    }

    /// Number of bytes not sent yet.
    pub fn unsent(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Discards everything written since the last flush.
    pub fn discard_output(&mut self) {
        self.output.clear();
        self.sent = 0;
    }

    /// Ends a pipeline; the node will respond with ReadyForQuery.
    pub fn sync(&mut self) {
        messages::bare(self.output(), b'S');
        self.open = Open::Nothing;
        self.expect_ready();
    }

    /// Requests the responses so far without ending the pipeline, because what follows depends on them.
    pub fn ask(&mut self) {
        messages::bare(self.output(), b'H');
        self.open = Open::Request;
    }

    /// Called when the node waits for COPY data.
    pub fn copy_in_began(&mut self) {
        self.open = Open::CopyIn;
    }

    fn expect_ready(&mut self) {
        self.outstanding += 1;
        if let Some(key) = &self.cancel {
            key.set_busy(true);
        }
    }

    /// Sends the output buffer. While the socket is full, input is read, so that a node that blocks on sending its
    /// responses cannot cause a deadlock.
    pub fn flush(&mut self, policy: WaitPolicy) -> Result<()> {
        if let Some(key) = &self.cancel {
            key.set_busy(true); // also for requests that end with Flush instead of Sync
        }
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(e) => self.blocked(e, policy)?,
            }
        }
        while let Err(e) = self.stream.flush() {
            self.blocked(e, policy)?;
        }
        self.output.clear();
        self.sent = 0;
        self.output.shrink_to(OUTPUT);
        self.await_reply = self.stream.tls().is_none();
        Ok(())
    }

    fn blocked(&mut self, error: io::Error, policy: WaitPolicy) -> Result<()> {
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(self.write_failed(&error));
        }
        if self.wait(Interest::ReadWrite, policy)?.readable {
            self.read_once()?;
        }
        Ok(())
    }

    /// Sets the deadline of interruptible waits, at which the session ends.
    pub fn set_time_limit(&mut self, limit: Option<Instant>) {
        self.time_limit = limit;
    }

    /// The socket, for waiting for several sessions at once.
    pub fn socket(&self) -> std::os::fd::RawFd {
        self.stream.descriptor()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some((node, process)) = self.shown {
            backends::closed(node, process);
        }
        if !self.lost && self.unsent() == 0 && !self.is_busy() {
            // Terminate saves the node a log line; if it cannot be sent, closing has the same effect.
            let _ = self.stream.write(&[b'X', 0, 0, 0, 4]);
        }
    }
}
