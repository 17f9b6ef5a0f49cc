//! Reads the responses to a request and tracks what they say about the session's state.

use super::columns::sentence;
use super::*;

impl Link {
    /// Reads the current request to its end; rows are kept in memory.
    pub fn settle(&mut self, policy: WaitPolicy) -> Result<()> {
        while self.is_closing && !self.session.is_lost() {
            let frame = match self.session.next(policy) {
                Ok(frame) => frame,
                Err(error) => return Err(self.lost(error)),
            };
            self.take(&frame)?;
        }
        while let Some(stream) = self.current.clone() {
            if let Some(row) = self.advance(policy)? {
                let mut stream = stream.borrow_mut();
                if !stream.abandoned {
                    stream.keep(&row);
                }
            }
        }
        Ok(())
    }

    /// Reads the next row of the current request; None when it has ended, with the outcome in its stream.
    #[inline]
    pub fn advance(&mut self, policy: WaitPolicy) -> Result<Option<Frame>> {
        let policy = match policy {
            // The node commits by itself, so its response counts, whatever happens here meanwhile.
            WaitPolicy::Interruptible if self.request.autocommit && self.request.writes => {
                WaitPolicy::Commit
            }
            policy => policy,
        };
        loop {
            let frame = match self.session.next(policy) {
                Ok(frame) => frame,
                Err(error) => return Err(self.lost(error)),
            };
            // Rows before and after the statement's own are those of additional commands.
            if matches!(frame.kind, b'D' | b'd')
                && self.is_own_turn()
                && self.request.failed.is_none()
            {
                return Ok(Some(frame));
            }
            if self.take(&frame)? {
                return Ok(None);
            }
        }
    }

    #[inline]
    fn is_own_turn(&self) -> bool {
        self.effects.is_empty() && !self.has_answered()
    }

    /// Whether the statement's own response has been read, so that messages belong to later commands.
    #[inline]
    fn has_answered(&self) -> bool {
        self.request.tag.is_some() || self.request.suspended
    }

    /// Processes a message other than a row; true at the end of the request.
    pub fn take(&mut self, frame: &Frame) -> Result<bool> {
        match frame.kind {
            b'C' if !self.effects.is_empty() => self.confirm(frame),
            b'C' if self.request.suspended => {} // of what came behind the statement
            b'C' => {
                let tag = helios_core::frames::command_tag(frame).unwrap_or_default();
                // May be followed by the query for the transaction ID, or the command that resets a COPY's encoding.
                self.request.tag.get_or_insert_with(|| tag.to_owned());
            }
            b'I' => self.request.tag = Some(String::new()),
            b's' => self.request.suspended = true,
            b'1' if self.has_answered() => self.can_ask |= self.request.asks,
            b'D' if self.request.asks && self.has_answered() => {
                let id = text_row(frame).into_iter().next().flatten();
                self.block.xid = id.and_then(|id| id.parse().ok()).or(self.block.xid);
            }
            b'1' if self.effects.is_empty() => {
                if let Some(Sent { key, known: Known::Prepare(number), definitions }) =
                    self.request.statement
                {
                    self.statements.parsed(key, number, definitions);
                }
            }
            b'T' | b'n' if self.request.columns != 0 => self.check_columns(frame),
            b'1' | b'2' | b'3' | b'n' | b't' | b'T' | b'D' | b'd' | b'c' => {}
            b'E' => {
                let error = self.session.error(frame);
                if self.session.is_lost() {
                    return Err(self.lost(error));
                }
                let read_only = error.is(PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION);
                self.demoted |= read_only && !xact::is_read_only();
                let error = self.explain(error);
                self.can_ask &= !self.has_answered();
                self.request.failed.get_or_insert(error);
            }
            b'Z' => {
                self.finish();
                return Ok(true);
            }
            other => {
                let error = self.session.unexpected(other);
                return Err(self.lost(error));
            }
        }
        Ok(false)
    }

    pub(super) fn confirm(&mut self, complete: &[u8]) {
        match self.effects.pop_front() {
            Some(Effect::Counted) => {
                let tag = helios_core::frames::command_tag(complete).unwrap_or_default();
                self.request.counted += helios_core::frames::rows_affected(tag).unwrap_or(0);
            }
            Some(Effect::Step(step)) => {
                self.block.confirm(step, xact::is_read_only());
                match step {
                    Step::RollbackTo(level) => self.applied.roll_back(level),
                    Step::Release(level) => self.applied.release(level),
                    _ => {}
                }
            }
            Some(Effect::Settings(settings, epoch)) => {
                let level = if self.request.autocommit { 0 } else { xact::nest_level() };
                self.applied.set(settings, epoch, level);
            }
            Some(Effect::Encoding(encoding)) => self.session.set_foreign_encoding(Some(encoding)),
            Some(Effect::Done) | None => {}
        }
    }

    /// Adds context to an error of a pipeline command other than the statement itself.
    pub(super) fn explain(&mut self, error: Error) -> Error {
        match self.effects.front() {
            Some(Effect::Settings(settings, _)) => {
                let error = error.context("while applying the client's settings and role");
                match &settings.role {
                    Some(role) if error.is(PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE) => {
                        let role = String::from_utf8_lossy(role).into_owned();
                        error.hint(format!(
                            "Statements on a node run as the client's current role. Grant role \"{role}\" to the \
                                session's user, also on the node."
                        ))
                    }
                    _ if error.is(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE)
                        || error.is(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT) =>
                    {
                        error.hint(format!(
                            "Settings of the session must also be valid on node \"{}\". Reset the setting, or make it \
                                valid on the node.",
                            self.node.name
                        ))
                    }
                    _ => error,
                }
            }
            Some(Effect::Step(_)) => error.context("while following the local transaction"),
            Some(Effect::Counted) => error,
            Some(Effect::Encoding(_) | Effect::Done) => {
                error.context("while applying the client's settings")
            }
            None => {
                let prepared = match self.request.statement {
                    Some(Sent { key, known: Known::Prepared(_), .. }) => Some(key),
                    _ => None,
                };
                if let Some(key) = prepared.filter(|_| is_outdated(&error)) {
                    self.statements.forget(key);
                }
                let asked = self.request.columns != 0 || prepared.is_some();
                if asked && tells_of_other_columns(&error) {
                    return self.other_columns(&sentence(&error.to_string()));
                }
                error
            }
        }
    }

    /// Called on ReadyForQuery.
    pub(super) fn finish(&mut self) {
        let request = std::mem::take(&mut self.request);
        self.is_closing = false;
        let (failed, counted) = (request.failed.is_some(), request.counted);
        self.effects.clear();
        self.session.set_foreign_encoding(None);
        if request.autocommit || self.session.status() == b'I' {
            if failed { self.applied.roll_back(0) } else { self.applied.commit() }
        }
        if request.forgets {
            self.applied.forget();
        }
        if request.autocommit {
            self.block.xid = None;
        }
        if (self.session.status() != b'I') != self.block.is_open() {
            // A transaction was begun or ended unexpectedly. Later statements must not run in it, so the connection is
            // closed, which aborts it.
            self.session.give_up();
        }
        let outcome = match request {
            Request { failed: Some(error), .. } => Outcome::Failed(error),
            Request { tag: Some(tag), .. } => Outcome::Complete(tag),
            Request { suspended: true, .. } => Outcome::Suspended,
            _ => Outcome::Complete(String::new()),
        };
        if let Some(stream) = self.current.take() {
            let mut stream = stream.borrow_mut();
            (stream.outcome, stream.counted) = (Some(outcome), counted);
        }
    }

    /// Handles the loss of the connection during a request.
    pub fn lost(&mut self, error: Error) -> Error {
        if !self.session.is_lost() {
            return error; // an interrupt's deadline, or what was written was refused
        }
        node_health::suspect(self.node.id.0);
        let gid = self.own_gid();
        let request = std::mem::take(&mut self.request);
        let error =
            if request.autocommit && request.writes { unknown_outcome(gid, &error) } else { error };
        if let Some(stream) = self.current.take() {
            stream.borrow_mut().outcome = Some(Outcome::Failed(error.clone()));
        }
        error
    }

    /// Discards rows until the current request ends or the deadline expires. Steps that the node performed are recorded
    /// all the same: a savepoint may exist although its statement was canceled.
    pub fn drain(&mut self, until: Instant) {
        while self.session.is_busy() {
            let Some(frame) = self.session.poll(until) else { return };
            if matches!(frame.kind, b'D' | b'd') {
                continue;
            }
            if self.take(&frame).is_err() {
                return; // lost
            }
        }
    }
}

/// Whether a prepared statement is invalid because objects that it uses have changed, or does not exist.
fn is_outdated(error: &Error) -> bool {
    error.is(PgSqlErrorCode::ERRCODE_INVALID_SQL_STATEMENT_NAME) || tells_of_other_columns(error)
}

/// Whether the node rejected a statement, or the requested formats, because its result columns differ from those
/// expected.
fn tells_of_other_columns(error: &Error) -> bool {
    let raised_by = |routine: &[u8]| error.fields().routine.as_deref() == Some(routine);
    (error.is(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED) && raised_by(b"RevalidateCachedQuery"))
        || (error.is(PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION)
            && raised_by(b"PortalSetResultFormat"))
}
