//! Receives messages from the node, and waits for them.

use super::*;
use crate::remote::reply::malformed;

impl Session {
    /// The next message that has arrived completely.
    #[inline]
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame>> {
        self.input.next_frame().map_err(malformed)
    }

    /// The next message for the caller. Notices are raised, parameter changes recorded, notifications (a session with a
    /// node never listens) dropped.
    #[inline]
    pub fn next(&mut self, policy: WaitPolicy) -> Result<Frame> {
        loop {
            match self.next_frame() {
                Ok(Some(frame)) => match frame.kind {
                    b'D' | b'd' => return Ok(frame),
                    _ => {
                        if let Some(frame) = self.note(frame, policy) {
                            return Ok(frame);
                        }
                    }
                },
                Ok(None) => self.fill(policy)?,
                Err(error) => {
                    self.lost = true;
                    return Err(error.context(self.context_line()));
                }
            }
        }
    }

    /// The next message if it has already arrived; never waits.
    pub fn try_next(&mut self) -> Result<Option<Frame>> {
        if self.input.is_empty() {
            self.read_once()?;
        }
        while let Some(frame) = self.next_frame()? {
            if let Some(frame) = self.note(frame, WaitPolicy::Interruptible) {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    pub(super) fn note(&mut self, frame: Frame, policy: WaitPolicy) -> Option<Frame> {
        match frame.kind {
            b'N' => {
                let report = Report::parse(&frame).map(|report| self.in_our_encoding(report));
                drop(frame);
                let Ok(report) = report else { return None };
                if is_told_here(&report.error) {
                    return None;
                }
                let notice = report.error.context(self.context_line());
                match policy {
                    WaitPolicy::Until(_) => {}
                    // Raising a notice may process interrupts.
                    WaitPolicy::Commit => hold_interrupts(|| notify(report.level, &notice)),
                    _ => notify(report.level, &notice),
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
                if matches!(policy, WaitPolicy::Commit) {
                    // The node has decided: it is too late for a cancel, on both servers.
                    hold_cancels();
                }
                if self.outstanding == 0 {
                    self.deadlock.clear();
                    self.asked_to_stop = false;
                    if let Some(key) = &self.cancel {
                        key.set_busy(false);
                    }
                }
                Some(frame)
            }
            _ => Some(frame),
        }
    }

    pub(super) fn note_parameter(&mut self, body: &[u8]) {
        let mut parts =
            body.split(|&b| b == 0).map(|part| String::from_utf8_lossy(part).into_owned());
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { return };
        match self.parameters.iter_mut().find(|(n, _)| *n == name) {
            Some(entry) => entry.1 = value,
            None => self.parameters.push((name, value)),
        }
    }

    #[cold]
    pub(super) fn fill(&mut self, policy: WaitPolicy) -> Result<()> {
        if matches!(policy, WaitPolicy::Interruptible | WaitPolicy::InterruptibleUntil(_)) {
            check_for_interrupts();
        }
        let mut long = None;
        let mut wait_first = std::mem::take(&mut self.await_reply);
        while std::mem::take(&mut wait_first) || !self.read_once()? {
            self.wait_for_answer(policy, &mut long)?;
        }
        Ok(())
    }

    /// Waits for data. A long wait becomes visible to distributed deadlock detection.
    fn wait_for_answer(&mut self, policy: WaitPolicy, long: &mut Option<LongWait>) -> Result<()> {
        let may_be_deadlock = matches!(policy, WaitPolicy::Interruptible | WaitPolicy::Commit);
        let limit = (may_be_deadlock && long.is_none()).then(crate::pg::session::deadlock_timeout);
        let woken = self.wait_at_most(Interest::Read, policy, limit)?;
        match long {
            Some(wait) if woken.latch && self.deadlock.is_empty() => {
                self.deadlock = wait.deadlock();
                if let (false, Some(key)) = (self.deadlock.is_empty(), &self.cancel) {
                    key.request_cancel();
                }
            }
            None if limit.is_some() && woken == Woken::default() => *long = LongWait::begin(),
            _ => {}
        }
        Ok(())
    }

    /// Reads available data; false if there is none.
    pub(super) fn read_once(&mut self) -> Result<bool> {
        match self.stream.read(self.input.room().map_err(malformed)?) {
            Ok(0) => Err(self.lost("the node closed the connection")),
            Ok(n) => {
                self.input.filled(n);
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(self.lost(&e.to_string())),
        }
    }

    /// Waits for the socket according to the policy, which determines whether interrupts are processed.
    pub(in crate::remote) fn wait(
        &mut self,
        interest: Interest,
        policy: WaitPolicy,
    ) -> Result<Woken> {
        self.wait_at_most(interest, policy, None)
    }

    /// Like [`Self::wait`], with an upper limit.
    fn wait_at_most(
        &mut self,
        interest: Interest,
        policy: WaitPolicy,
        limit: Option<Duration>,
    ) -> Result<Woken> {
        let (deadline, wake) = match policy {
            WaitPolicy::Interruptible => (self.time_limit, None),
            WaitPolicy::InterruptibleUntil(moment) => (Some(moment), None),
            WaitPolicy::Until(moment) => (Some(bounded(moment)), None),
            WaitPolicy::Commit => {
                let due = due();
                self.ask_to_stop(due);
                (due.map(last_moment), due)
            }
        };
        let left = |moment: Instant| moment.saturating_duration_since(Instant::now());
        if deadline.map(left) == Some(Duration::ZERO) {
            return Err(self.lost("timed out waiting for a response"));
        }
        let wake = wake.map(left).filter(|time| !time.is_zero());
        let left = deadline.map(left).into_iter().chain(limit).chain(wake).min();
        let woken = self.wait.wait(interest, left);
        if woken.postmaster_died {
            match policy {
                WaitPolicy::Interruptible | WaitPolicy::InterruptibleUntil(_) => {
                    exit_with_postmaster()
                }
                WaitPolicy::Until(_) | WaitPolicy::Commit => {
                    return Err(self.lost("this server is shutting down"));
                }
            }
        }
        if woken.latch {
            match policy {
                WaitPolicy::Interruptible | WaitPolicy::InterruptibleUntil(_) => {
                    check_for_interrupts()
                }
                WaitPolicy::Until(_) => owe_latch(),
                WaitPolicy::Commit => {} // looked at before the next wait
            }
        }
        Ok(woken)
    }

    /// When the client's statement has timed out, sends a cancel request; the node's response still counts.
    fn ask_to_stop(&mut self, due: Option<Instant>) {
        if due.is_some_and(|due| due <= Instant::now()) && !self.asked_to_stop {
            self.asked_to_stop = true;
            self.request_cancel();
        }
    }

    /// The next message, in a context where no error may be raised: None if there is none until the deadline, or the
    /// connection is lost. Notices are dropped.
    pub fn poll(&mut self, until: Instant) -> Option<Frame> {
        while !self.lost {
            match self.next_frame() {
                Ok(Some(frame)) => {
                    if let Some(frame) = self.note(frame, WaitPolicy::Until(until)) {
                        return Some(frame);
                    }
                }
                Ok(None) => match self.read_once() {
                    Ok(true) | Err(_) => {}
                    Ok(false) => {
                        let left = bounded(until).saturating_duration_since(Instant::now());
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
}

/// Whether a notice of a node repeats one of this server's: both have read the same text, with the same long identifiers and
/// strings. A function's text is read where it runs.
fn is_told_here(notice: &Error) -> bool {
    const OF_SCANNER: [&str; 2] = ["42622", "22P06"];
    OF_SCANNER.contains(&notice.sqlstate().as_str()) && notice.fields().context.is_none()
}
