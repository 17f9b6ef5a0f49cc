//! One connection to a node: frames in and out, waits that can be interrupted, and its end.

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

/// The write buffer is kept up to this size, and a COPY is sent in pieces of it.
const OUTPUT: usize = 256 * 1024;
/// How long, and how politely, to wait for a node.
#[derive(Clone, Copy, Debug)]
pub enum WaitPolicy {
    /// Until it answers, or an interrupt of this backend raises an error.
    Interruptible,
    /// The same, but not beyond this moment.
    InterruptibleUntil(Instant),
    /// Where no error may be raised (abort, after commit): not beyond this moment, and not much longer than the client's
    /// statement may take.
    Until(Instant),
    /// For a COMMIT on the way: an interrupt, or the end of `statement_timeout`, is passed on to the node, whose answer is
    /// what counts if it comes at once. After it no cancel is looked at until the local transaction has ended too.
    Commit,
}

/// What was asked without saying Sync yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Request,
    CopyIn,
}

/// A live connection to a node. Everything that fails here because the connection is gone leaves
/// [`Session::is_lost`] true: such a session can only be dropped.
pub struct Session {
    wait: SocketWait, // before the stream: its set must go before the socket is closed
    stream: Stream,
    input: FrameBuffer,
    output: Vec<u8>,
    sent: usize,
    /// A request was just sent: reading at once would find nothing.
    await_reply: bool,
    node: Rc<str>,
    /// The encoding of the node's messages, where it is not the database's here.
    foreign_encoding: Option<String>,
    cancel: Option<Rc<CancelKey>>,
    parameters: Vec<(String, String)>,
    /// ReadyForQuery messages still to come.
    outstanding: u32,
    open: Open,
    status: u8,
    lost: bool,
    /// When everything has to be over, for those that must not wait for ever.
    time_limit: Option<Instant>,
    /// The node was asked to cancel the COMMIT that it has been sent.
    asked_to_stop: bool,
    /// A request to cancel was sent, and nobody knows whether the node has acted on it yet.
    cancel_pending: Cell<bool>,
    /// Processes here that wait for each other, when this session's statement was cancelled to end that.
    deadlock: Vec<i32>,
    /// The node's id and the process that serves this session there, when other backends are to know them.
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

    /// Lets those who look for deadlocks know whose session this is.
    pub fn show(&mut self, node: i32) {
        if let Some(key) = &self.cancel {
            backends::opened(node, key.process());
            self.shown = Some((node, key.process()));
        }
    }

    /// The last value the node reported for a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// For servers that have it (see [`Self::has_transaction_timeout`]), which as a start-up parameter others refuse: as
    /// little meant for sessions between servers as their other timeouts.
    pub const NO_TRANSACTION_TIMEOUT: &str = "SET transaction_timeout = 0";

    /// Whether the server can end transactions that take too long.
    pub fn has_transaction_timeout(&self) -> bool {
        let version = self.parameter("server_version").unwrap_or_default();
        let digits = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        digits.parse::<u32>().is_ok_and(|major| major >= 17)
    }

    /// Transaction status of the last ReadyForQuery: `I` none, `T` in a block, `E` in a failed block.
    pub fn status(&self) -> u8 {
        self.status
    }

    /// Whether the connection is gone.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether answers are still to come.
    pub fn is_busy(&self) -> bool {
        self.outstanding > 0
    }

    /// Says in which encoding the node's messages come; None is the database's.
    #[inline]
    pub fn set_foreign_encoding(&mut self, encoding: Option<String>) {
        self.foreign_encoding = encoding;
    }

    /// Whether the node's messages come in another encoding than the database's.
    pub fn has_foreign_encoding(&self) -> bool {
        self.foreign_encoding.is_some()
    }

    /// Whether nothing is under way: no answers to come, nothing half sent, no COPY.
    pub fn is_at_rest(&self) -> bool {
        self.outstanding == 0 && self.open == Open::Nothing && self.unsent() == 0
    }

    /// Whether bytes have arrived that were not taken yet.
    pub fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Whether a request was sent that Sync has yet to end.
    pub fn is_open(&self) -> bool {
        self.open != Open::Nothing
    }

    /// Where requests are written; [`Self::flush`] sends them.
    pub fn output(&mut self) -> &mut Vec<u8> {
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
        }
        &mut self.output
    }

    /// Bytes written and not sent yet.
    pub fn unsent(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Forgets what was written since the last flush.
    pub fn discard_output(&mut self) {
        self.output.clear();
        self.sent = 0;
    }

    /// Ends a pipeline: the node will answer with ReadyForQuery.
    pub fn sync(&mut self) {
        messages::bare(self.output(), b'S');
        self.open = Open::Nothing;
        self.expect_ready();
    }

    /// Asks for the answers so far, without ending the pipeline: what follows depends on them.
    pub fn ask(&mut self) {
        messages::bare(self.output(), b'H');
        self.open = Open::Request;
    }

    /// The node waits for the data of a COPY.
    pub fn copy_in_began(&mut self) {
        self.open = Open::CopyIn;
    }

    fn expect_ready(&mut self) {
        self.outstanding += 1;
        if let Some(key) = &self.cancel {
            key.set_busy(true);
        }
    }

    /// Sends everything written. While the socket is full, what arrives is read, so that a node that answers
    /// before it reads on cannot block both sides.
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

    /// Interruptible waits end at this moment, and the session with them.
    pub fn set_time_limit(&mut self, limit: Option<Instant>) {
        self.time_limit = limit;
    }

    /// The socket, to wait for several sessions at once.
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
            // A good-bye spares the node a log line; if it cannot be sent, closing says the same.
            let _ = self.stream.write(&[b'X', 0, 0, 0, 4]);
        }
    }
}
