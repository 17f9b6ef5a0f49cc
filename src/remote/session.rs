//! One connection to a node: frames in and out, waits that can be interrupted, and its end.

use super::cancel::CancelKey;
use super::frames::{Frame, FrameBuffer};
use super::messages;
use super::reply::Report;
use super::stream::Stream;
use crate::error::{Error, Result};
use crate::pg::error::notify;
use crate::pg::wait::{
    Interest, SocketWait, Woken, check_for_interrupts, exit_with_postmaster, interrupt_pending,
    owe_latch,
};
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The write buffer is kept up to this size, and a COPY is sent in pieces of it.
const OUTPUT: usize = 256 * 1024;
/// How long a node has to finish a COMMIT after the client wants to be gone.
const COMMIT_GRACE: Duration = Duration::from_secs(10);

/// How long, and how politely, to wait for a node.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// Until it answers, or an interrupt of this backend raises an error.
    Interruptible,
    /// The same, but not beyond this moment.
    InterruptibleUntil(Instant),
    /// Where no error may be raised (abort, after commit): not beyond this moment.
    Until(Instant),
    /// For a COMMIT on the way: an interrupt is passed on to the node, whose answer is what counts.
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
    cancel: Option<Rc<CancelKey>>,
    parameters: Vec<(String, String)>,
    /// ReadyForQuery messages still to come.
    outstanding: u32,
    open: Open,
    status: u8,
    lost: bool,
    /// When everything has to be over, for those that must not wait for ever.
    time_limit: Option<Instant>,
    /// When the node has to have answered although the backend was interrupted.
    grace: Option<Instant>,
}

impl Session {
    pub(super) fn new(stream: Stream, wait: SocketWait, node: Rc<str>) -> Self {
        Self {
            wait,
            stream,
            input: FrameBuffer::new(),
            output: Vec::new(),
            sent: 0,
            await_reply: false,
            node,
            cancel: None,
            parameters: Vec::new(),
            outstanding: 1, // the start-up's
            open: Open::Nothing,
            status: b'I',
            lost: false,
            time_limit: None,
            grace: None,
        }
    }

    pub(super) fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    pub(super) fn set_cancel_key(&mut self, key: Rc<CancelKey>) {
        self.cancel = Some(key);
    }

    /// The node's name.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The last value the node reported for a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
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

    /// Whether nothing is under way: no answers to come, nothing half sent, no COPY.
    pub fn is_at_rest(&self) -> bool {
        self.outstanding == 0 && self.open == Open::Nothing && self.unsent() == 0
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
    pub fn flush(&mut self, patience: Patience) -> Result<()> {
        if let Some(key) = &self.cancel {
            key.set_busy(true); // also for requests that end with Flush instead of Sync
        }
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(e) => self.blocked(e, patience)?,
            }
        }
        while let Err(e) = self.stream.flush() {
            self.blocked(e, patience)?;
        }
        self.output.clear();
        self.sent = 0;
        self.output.shrink_to(OUTPUT);
        self.await_reply = self.stream.tls().is_none();
        Ok(())
    }

    /// Sends if enough has been written to make it worth while.
    pub fn flush_if_large(&mut self, patience: Patience) -> Result<()> {
        if self.unsent() >= OUTPUT / 4 { self.flush(patience) } else { Ok(()) }
    }

    fn blocked(&mut self, error: io::Error, patience: Patience) -> Result<()> {
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(self.write_failed(&error));
        }
        if self.wait(Interest::ReadWrite, patience)?.readable {
            self.read_once()?;
        }
        Ok(())
    }

    /// The next message that matters to the caller. Notices are raised, parameters noted, notifications (a
    /// session to a node never listens) dropped.
    #[inline]
    pub fn next(&mut self, patience: Patience) -> Result<Frame> {
        loop {
            match self.input.next() {
                Ok(Some(frame)) => match frame.kind {
                    b'D' | b'd' => return Ok(frame),
                    _ => {
                        if let Some(frame) = self.note(frame, patience) {
                            return Ok(frame);
                        }
                    }
                },
                Ok(None) => self.fill(patience)?,
                Err(error) => {
                    self.lost = true;
                    return Err(error.context(self.context_line()));
                }
            }
        }
    }

    /// The next message if it is here already; never waits.
    pub fn try_next(&mut self) -> Result<Option<Frame>> {
        if self.input.is_empty() {
            self.read_once()?;
        }
        while let Some(frame) = self.input.next()? {
            if let Some(frame) = self.note(frame, Patience::Interruptible) {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    fn note(&mut self, frame: Frame, patience: Patience) -> Option<Frame> {
        match frame.kind {
            b'N' => {
                let report = Report::parse(&frame);
                drop(frame);
                if let (Ok(report), false) = (report, matches!(patience, Patience::Until(_))) {
                    notify(report.level, &report.error.context(self.context_line()));
                }
                None
            }
            b'S' => {
                self.note_parameter(&frame);
                None
            }
            b'A' => None,
            b'Z' => {
                self.status = frame.first().copied().unwrap_or(b'I');
                self.outstanding = self.outstanding.saturating_sub(1);
                if self.outstanding == 0 {
                    self.grace = None;
                    if let Some(key) = &self.cancel {
                        key.set_busy(false);
                    }
                }
                Some(frame)
            }
            _ => Some(frame),
        }
    }

    fn note_parameter(&mut self, body: &[u8]) {
        let mut parts =
            body.split(|&b| b == 0).map(|part| String::from_utf8_lossy(part).into_owned());
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { return };
        match self.parameters.iter_mut().find(|(n, _)| *n == name) {
            Some(entry) => entry.1 = value,
            None => self.parameters.push((name, value)),
        }
    }

    #[cold]
    fn fill(&mut self, patience: Patience) -> Result<()> {
        if matches!(patience, Patience::Interruptible | Patience::InterruptibleUntil(_)) {
            check_for_interrupts();
        }
        if std::mem::take(&mut self.await_reply) {
            self.wait(Interest::Read, patience)?;
        }
        while !self.read_once()? {
            self.wait(Interest::Read, patience)?;
        }
        Ok(())
    }

    /// Reads what is there; false if nothing is.
    fn read_once(&mut self) -> Result<bool> {
        match self.stream.read(self.input.room()?) {
            Ok(0) => Err(self.lost("the node closed the connection")),
            Ok(n) => {
                self.input.filled(n);
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(self.lost(&e.to_string())),
        }
    }

    /// Waits for the socket with the patience given; looks at interrupts as it allows.
    pub(super) fn wait(&mut self, interest: Interest, patience: Patience) -> Result<Woken> {
        let deadline = match patience {
            Patience::Interruptible => self.time_limit,
            Patience::InterruptibleUntil(moment) | Patience::Until(moment) => Some(moment),
            Patience::Commit => self.grace,
        };
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(self.lost("no answer in time"));
        }
        let woken = self.wait.wait(interest, left);
        if woken.postmaster_died {
            match patience {
                Patience::Interruptible | Patience::InterruptibleUntil(_) => exit_with_postmaster(),
                Patience::Until(_) | Patience::Commit => {
                    return Err(self.lost("this server is going down"));
                }
            }
        }
        if woken.latch {
            match patience {
                Patience::Interruptible | Patience::InterruptibleUntil(_) => check_for_interrupts(),
                Patience::Until(_) => owe_latch(),
                Patience::Commit => self.forward_interrupt(),
            }
        }
        Ok(woken)
    }

    fn forward_interrupt(&mut self) {
        if interrupt_pending() && self.grace.is_none() {
            self.grace = Some(Instant::now() + COMMIT_GRACE);
            if let Some(key) = &self.cancel {
                key.request_cancel();
            }
        }
    }

    /// Gives up the request under way where nothing may be raised, so that the node comes to its end by
    /// itself or after a cancel. False if that cannot be: half a message is out, and sending the rest would run
    /// the statement after all.
    pub fn abandon_request(&mut self, until: Instant) -> bool {
        if self.open == Open::CopyIn {
            if messages::copy_fail(self.output(), "the transaction was rolled back").is_err() {
                return false;
            }
        } else if self.unsent() > 0 {
            if self.sent > 0 || self.outstanding > 0 {
                return false;
            }
            self.discard_output();
        }
        if self.open != Open::Nothing {
            self.sync();
        }
        self.flush(Patience::Until(until)).is_ok()
    }

    /// The next message where nothing may be raised: None when there is none at the moment given, or the
    /// connection is gone. Notices are dropped.
    pub fn poll(&mut self, until: Instant) -> Option<Frame> {
        while !self.lost {
            match self.input.next() {
                Ok(Some(frame)) => {
                    if let Some(frame) = self.note(frame, Patience::Until(until)) {
                        return Some(frame);
                    }
                }
                Ok(None) => match self.read_once() {
                    Ok(true) | Err(_) => {}
                    Ok(false) => {
                        let left = until.saturating_duration_since(Instant::now());
                        if left.is_zero() {
                            return None;
                        }
                        let woken = self.wait.wait(Interest::Read, Some(left));
                        if woken.latch {
                            owe_latch();
                        }
                        self.lost |= woken.postmaster_died;
                    }
                },
                Err(_) => self.lost = true,
            }
        }
        None
    }

    /// Asks the node, over a connection of its own, to stop what it is doing for this session. Best effort.
    pub fn request_cancel(&self) -> bool {
        self.cancel.as_ref().is_some_and(|key| key.request_cancel())
    }

    /// Whether the node has closed an idle connection, or said so. Costs one system call.
    pub fn is_stale(&mut self) -> bool {
        if self.lost {
            return true;
        }
        match self.try_next() {
            Ok(Some(frame)) => {
                self.lost = frame.kind == b'E' || self.lost;
                self.lost
            }
            Ok(None) => false,
            Err(_) => {
                self.lost = true;
                true
            }
        }
    }

    /// Interruptible waits end at this moment, and the session with them.
    pub fn set_time_limit(&mut self, limit: Option<Instant>) {
        self.time_limit = limit;
    }

    /// Marks the session as unusable, whatever its socket says.
    pub fn give_up(&mut self) {
        self.lost = true;
    }

    /// The error of an ErrorResponse, with the node in its context. A fatal one ends the session.
    pub fn error(&mut self, body: &[u8]) -> Error {
        match Report::parse(body) {
            Ok(report) => {
                self.lost |= report.is_fatal();
                report.error.context(self.context_line())
            }
            Err(error) => {
                self.lost = true;
                error.context(self.context_line())
            }
        }
    }

    /// An error for what the node should not have sent; the session cannot be used any more.
    pub fn unexpected(&mut self, kind: u8) -> Error {
        self.lost = true;
        Error::new(
            PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
            format!("node sent an unexpected message of type \"{}\"", kind.escape_ascii()),
        )
        .context(self.context_line())
    }

    /// `node "node-1"`
    pub fn context_line(&self) -> String {
        format!("node \"{}\"", self.node)
    }

    /// A failed write: the node may have said why before it closed.
    fn write_failed(&mut self, error: &io::Error) -> Error {
        let lost = self.lost(&error.to_string());
        while let Ok(true) = self.read_once() {}
        while let Ok(Some(frame)) = self.input.next() {
            if frame.kind == b'E' {
                return self.error(&frame);
            }
        }
        lost
    }

    fn lost(&mut self, reason: &str) -> Error {
        self.lost = true;
        Error::new(
            PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE,
            format!("connection to node \"{}\" was lost", self.node),
        )
        .detail(reason)
    }

    /// Runs statements by the simple protocol and gives the rows of all of them as text. For API functions and
    /// workers; the session must be idle.
    pub fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        messages::query(self.output(), sql.as_bytes())?;
        self.expect_ready();
        self.flush(Patience::Interruptible)?;
        let (mut rows, mut failed) = (Vec::new(), None);
        loop {
            let frame = self.next(Patience::Interruptible)?;
            match frame.kind {
                b'D' => rows.push(text_row(&frame)),
                b'E' => {
                    let error = self.error(&frame);
                    if self.lost {
                        return Err(error);
                    }
                    failed.get_or_insert(error);
                }
                b'G' => {
                    messages::copy_fail(self.output(), "COPY is not possible here")?;
                    self.flush(Patience::Interruptible)?;
                }
                b'Z' => return failed.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.lost && self.unsent() == 0 && !self.is_busy() {
            // A good-bye spares the node a log line; if it cannot be sent, closing says the same.
            let _ = self.stream.write(&[b'X', 0, 0, 0, 4]);
        }
    }
}

/// The columns of a DataRow body as text; a body that is cut short ends early.
pub fn text_row(body: &[u8]) -> Vec<Option<String>> {
    let columns = helios_core::frames::columns(body).into_iter().flatten().flatten();
    columns.map(|c| c.map(|c| String::from_utf8_lossy(c).into_owned())).collect()
}
