//! Requests that are given up, connections that are gone, and what the node says about either.

use super::*;
use crate::remote::cancel::Sent;

impl Session {
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
        self.flush(WaitPolicy::Until(until)).is_ok()
    }

    /// Asks the node, over a connection of its own, to stop what it is doing for this session. Best effort; false if it
    /// could not be asked.
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

    /// Whether a cancel that the node may still act on could hit what is asked next.
    pub fn has_cancel_pending(&self) -> bool {
        self.cancel_pending.get()
    }

    /// Whether the node has closed an idle connection, or said so. Costs one system call.
    pub fn is_stale(&mut self) -> bool {
        // A node that goes down at once says good-bye in a warning, and then closes.
        while let Some(frame) = self.poll(Instant::now()) {
            self.lost |= frame.kind == b'E';
        }
        self.lost
    }

    /// Marks the session as unusable, whatever its socket says.
    pub fn give_up(&mut self) {
        self.lost = true;
    }

    /// The error of an ErrorResponse, with the node in its context. A fatal one ends the session.
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

    /// While a COPY runs in the client's encoding, so do the node's messages.
    pub(super) fn in_our_encoding(&self, mut report: Report) -> Report {
        if let Some(encoding) = &self.foreign_encoding {
            report.error.fields_mut().map_texts(|text| encoding::to_database(encoding, text));
        }
        report
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

/// The node's statement was cancelled because its transaction was the victim.
fn deadlock_error(members: &[i32]) -> Error {
    let members: Vec<String> = members.iter().map(i32::to_string).collect();
    Error::new(PgSqlErrorCode::ERRCODE_T_R_DEADLOCK_DETECTED, "deadlock detected")
        .detail(format!(
            "Transactions of coordinator processes {} wait for each other on several servers.",
            members.join(", ")
        ))
        .hint("See server log for query details.")
}
