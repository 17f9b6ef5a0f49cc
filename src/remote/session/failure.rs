//! Abandoned requests, lost connections, and the corresponding errors.

use super::*;
use crate::remote::cancel::Sent;

impl Session {
    /// Abandons the current request in a context where no error may be raised, so that the node completes or cancels
    /// it. False if that is impossible: a message is half sent, and sending the rest would run the statement after all.
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
        self.flush(WaitPolicy::Until(until)).is_ok()
    }

    /// Sends a cancel request for this session over a separate connection. Best effort; false if the node could not be
    /// reached.
    pub fn request_cancel(&self) -> bool {
        match self.cancel.as_ref().map_or(Sent::No, |key| key.request_cancel()) {
            Sent::No => false,
            Sent::Taken => true,
            Sent::Unconfirmed => {
                self.cancel_pending.set(true);
                true
            }
        }
    }

    /// Whether a pending cancel request could hit the next statement.
    pub fn has_cancel_pending(&self) -> bool {
        self.cancel_pending.get()
    }

    /// Whether the node has closed or announced closing an idle connection. Costs one system call.
    pub fn is_stale(&mut self) -> bool {
        // On a fast shutdown, a node sends a FATAL message before it closes the connection.
        while let Some(frame) = self.poll(Instant::now()) {
            self.lost |= frame.kind == b'E';
        }
        self.lost
    }

    /// Marks the session as unusable, whatever the state of its socket.
    pub fn give_up(&mut self) {
        self.lost = true;
    }

    /// Converts an ErrorResponse to an error, with the node in its context. A fatal one ends the session.
    pub fn error(&mut self, body: &[u8]) -> Error {
        match Report::parse(body) {
            Ok(report) => {
                let report = self.in_our_encoding(report);
                self.lost |= report.is_fatal();
                let cancelled = report.error.is(PgSqlErrorCode::ERRCODE_QUERY_CANCELED);
                if cancelled && !self.deadlock.is_empty() {
                    return deadlock_error(&self.deadlock).context(self.context_line());
                }
                report.error.context(self.context_line())
            }
            Err(error) => {
                self.lost = true;
                error.context(self.context_line())
            }
        }
    }

    /// While a COPY uses the client's encoding, the node's messages do, too.
    pub(super) fn in_our_encoding(&self, mut report: Report) -> Report {
        if let Some(encoding) = &self.foreign_encoding {
            report.error.fields_mut().map_texts(|text| encoding::to_database(encoding, text));
        }
        report
    }

    /// Error for an unexpected message; the session becomes unusable.
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

    /// Error for a failed write: the node may have sent its reason before it closed the connection.
    pub(super) fn write_failed(&mut self, error: &io::Error) -> Error {
        let lost = self.lost(&error.to_string());
        while let Ok(true) = self.read_once() {}
        while let Ok(Some(frame)) = self.next_frame() {
            if frame.kind == b'E' {
                return self.error(&frame);
            }
        }
        lost
    }

    pub(super) fn lost(&mut self, reason: &str) -> Error {
        self.lost = true;
        Error::new(
            PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE,
            format!("connection to node \"{}\" was lost", self.node),
        )
        .detail(reason)
    }
}

/// The error for a statement that was canceled because its transaction was the victim of a deadlock.
fn deadlock_error(members: &[i32]) -> Error {
    let members: Vec<String> = members.iter().map(i32::to_string).collect();
    Error::new(PgSqlErrorCode::ERRCODE_T_R_DEADLOCK_DETECTED, "deadlock detected")
        .detail(format!(
            "Transactions of coordinator processes {} wait for each other on several servers.",
            members.join(", ")
        ))
        .hint("See server log for query details.")
}
