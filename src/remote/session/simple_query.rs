//! The simple query protocol, for API functions and workers.

use super::*;
use crate::remote::record::{Record, Rows, column_names, text_row};
use std::rc::Rc;

/// The response to [`Session::start_query`] received so far.
#[derive(Default)]
pub struct Answer {
    columns: Rc<[String]>,
    rows: Rows,
    failed: Option<Error>,
}

impl Session {
    /// Runs statements and returns the rows of all of them as text. The session must be idle.
    pub fn query(&mut self, sql: &str) -> Result<Rows> {
        self.start_query(sql)?;
        self.finish_query()
    }

    /// Sends statements; [`Self::poll_query`] or [`Self::finish_query`] reads the response. The session must be idle.
    pub fn start_query(&mut self, sql: &str) -> Result<()> {
        messages::query(self.output(), sql.as_bytes())?;
        self.expect_ready();
        self.flush(WaitPolicy::Interruptible)
    }

    /// Processes available input; returns the rows once the response is complete. Never waits.
    pub fn poll_query(&mut self, answer: &mut Answer) -> Result<Option<Rows>> {
        loop {
            while let Some(frame) = self.next_frame()? {
                let Some(frame) = self.note(frame, WaitPolicy::Interruptible) else { continue };
                if let Some(rows) = self.take_answer(answer, &frame)? {
                    return Ok(Some(rows));
                }
            }
            if !self.read_once()? {
                return Ok(None);
            }
        }
    }

    /// Waits for the response to [`Self::start_query`].
    pub fn finish_query(&mut self) -> Result<Rows> {
        let mut answer = Answer::default();
        loop {
            let frame = self.next(WaitPolicy::Interruptible)?;
            if let Some(rows) = self.take_answer(&mut answer, &frame)? {
                return Ok(rows);
            }
        }
    }

    fn take_answer(&mut self, answer: &mut Answer, frame: &Frame) -> Result<Option<Rows>> {
        match frame.kind {
            b'T' => answer.columns = column_names(frame),
            b'D' => answer.rows.push(Record::new(answer.columns.clone(), text_row(frame))),
            b'E' => {
                let error = self.error(frame);
                if self.lost {
                    return Err(error);
                }
                answer.failed.get_or_insert(error);
            }
            b'G' => {
                messages::copy_fail(self.output(), "COPY is not possible here")?;
                self.flush(WaitPolicy::Interruptible)?;
            }
            b'Z' => {
                let Answer { rows, failed, .. } = std::mem::take(answer);
                return failed.map_or(Ok(Some(rows)), Err);
            }
            _ => {}
        }
        Ok(None)
    }
}

/// Waits until one of the sessions has input, or the timeout; processes interrupts.
pub fn wait_for_any(sessions: &[&Session], time: Duration) {
    if sessions.iter().any(|session| !session.input.is_empty()) {
        return;
    }
    let sockets: Vec<_> = sessions.iter().map(|session| session.socket()).collect();
    crate::pg::ipc::wait::for_any(&sockets, time);
}
