//! One session to a node with all that was agreed on it: transaction, settings, prepared statements,
//! portals, and the request under way.

use super::applied::Applied;
use super::block::{Block, Step};
use super::stream::{Outcome, Stream};
use super::{Mode, follow};
use crate::directory::{Node, NodeId};
use crate::error::{Error, Result};
use crate::pg::{session as local, wait, xact};
use crate::remote::settings::{Snapshot, difference};
use crate::remote::{Frame, Known, Patience, Session, Statement, StatementCache, messages};
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Write;
use std::rc::Rc;
use std::time::Instant;

/// What a part of a pipeline does when the node has done it, in the order sent.
enum Effect {
    Step(Step),
    Settings(Rc<Snapshot>, u64),
}

/// The request whose answers are being read, after the effects.
#[derive(Default)]
struct Request {
    autocommit: bool,
    writes: bool,
    tag: Option<String>,
    suspended: bool,
    failed: Option<Error>,
    statement: Option<(u64, Known)>,
}

/// A session to a node and its state.
pub struct Link {
    pub session: Session,
    pub node: Rc<Node>,
    pub block: Block,
    /// Name of the transaction that this session left prepared, until it is resolved.
    pub prepared: Option<String>,
    applied: Applied,
    statements: StatementCache,
    effects: VecDeque<Effect>,
    request: Request,
    current: Option<Rc<RefCell<Stream>>>,
    closing: Vec<u32>,
    last_portal: u32,
    last_used: i64,
    name: Vec<u8>,
}

impl Link {
    pub fn new(session: Session, node: Rc<Node>) -> Self {
        Self {
            session,
            node,
            block: Block::default(),
            prepared: None,
            applied: Applied::default(),
            statements: StatementCache::default(),
            effects: VecDeque::new(),
            request: Request::default(),
            current: None,
            closing: Vec::new(),
            last_portal: 0,
            last_used: wait::statement_start(),
            name: Vec::new(),
        }
    }

    pub fn id(&self) -> NodeId {
        self.node.id
    }

    /// Whether the session can no longer be used. Looks at the socket when it was idle for a while: a node
    /// that was restarted meanwhile must not cost the client an error.
    pub fn is_stale(&mut self) -> bool {
        const IDLE: i64 = 10_000; // microseconds
        let now = wait::statement_start();
        let idle = now - self.last_used > IDLE && !self.block.is_open() && !self.session.is_busy();
        self.last_used = now;
        self.session.is_lost() || (idle && self.session.is_stale())
    }

    /// Whether the end of the local (sub)transaction means anything to this link.
    #[inline]
    pub fn is_concerned(&self) -> bool {
        self.block.is_open()
            || self.prepared.is_some()
            || self.session.is_lost()
            || !self.session.is_at_rest()
            || self.session.status() != b'I'
    }

    /// Readies the session for a request: reads what is still under way into memory, then writes whatever
    /// brings transaction and settings up to date.
    pub fn begin(&mut self, mode: Mode, writes: bool, encoding: Option<&str>) -> Result<()> {
        if self.session.is_open() {
            self.end_copy()?; // one that nobody finished
        }
        self.settle(Patience::Interruptible)?;
        let autocommit = matches!(mode, Mode::Autocommit) && !self.block.is_open();
        self.request = Request { autocommit, writes, ..Request::default() };
        self.effects.clear();
        self.close_leftovers()?;
        if !autocommit {
            self.catch_up()?;
            self.block.wrote |= writes;
        }
        self.follow_settings(encoding)
    }

    fn catch_up(&mut self) -> Result<()> {
        let (level, read_only) = (xact::nest_level(), xact::is_read_only());
        if self.block.is_at(level, read_only) {
            return Ok(());
        }
        let Self { session, block, effects, .. } = self;
        block.steps(level, read_only, |step| send_step(session, effects, step))
    }

    fn follow_settings(&mut self, encoding: Option<&str>) -> Result<()> {
        let epoch = follow::epoch();
        if epoch == self.applied.epoch() && encoding.is_none() {
            return Ok(());
        }
        let mut wanted = follow::snapshot();
        let mut number = epoch;
        if let Some(encoding) = encoding {
            let encoding = Some(encoding.as_bytes().to_vec());
            wanted = Rc::new(Snapshot { encoding, ..(*wanted).clone() });
            number = 0;
        }
        match difference(self.applied.now(), &wanted, &local::encoding()) {
            Some(sql) => {
                messages::command(self.session.output(), &sql)?;
                self.effects.push_back(Effect::Settings(wanted, number));
            }
            None => self.applied.equals(number),
        }
        Ok(())
    }

    fn close_leftovers(&mut self) -> Result<()> {
        if !self.closing.is_empty() {
            for portal in std::mem::take(&mut self.closing) {
                self.set_name(b'p', portal);
                messages::close(self.session.output(), b'P', &self.name)?;
            }
        }
        if self.statements.has_closing() {
            for statement in self.statements.take_closing() {
                self.set_name(b's', statement);
                messages::close(self.session.output(), b'S', &self.name)?;
            }
        }
        Ok(())
    }

    fn set_name(&mut self, kind: u8, number: u32) {
        self.name.clear();
        // Writing into a Vec cannot fail.
        let _ = write!(self.name, "helios_{}{number}", kind as char);
    }

    /// Writes Parse (unless prepared) and Bind of a statement; `portal` names it.
    pub fn bind(&mut self, st: &Statement<'_>, portal: Option<u32>) -> Result<()> {
        let portal = portal.map(|portal| {
            self.set_name(b'p', portal);
            self.name.clone()
        });
        let known = if st.reuse {
            let (key, known) = self.statements.look_up(st.sql, st.types);
            self.request.statement = Some((key, known));
            known
        } else {
            Known::No
        };
        match known {
            Known::No => self.name.clear(),
            Known::Prepare(number) | Known::Prepared(number) => self.set_name(b's', number),
        }
        let out = self.session.output();
        if !matches!(known, Known::Prepared(_)) {
            messages::parse(out, &self.name, st.sql, st.types)?;
        }
        let portal = portal.as_deref().unwrap_or_default();
        messages::bind(out, portal, &self.name, st.values, st.result_formats)
    }

    /// Writes Execute of a portal.
    pub fn execute(&mut self, portal: Option<(u32, u32)>) -> Result<()> {
        match portal {
            None => messages::execute(self.session.output(), b"", 0),
            Some((portal, rows)) => {
                self.set_name(b'p', portal);
                messages::execute(self.session.output(), &self.name, rows)
            }
        }
    }

    /// Ends the pipeline and sends it. The answers belong to the stream given back.
    pub fn submit(&mut self) -> Result<Rc<RefCell<Stream>>> {
        self.session.sync();
        self.send()
    }

    /// Sends the pipeline, which may have to be ended later.
    pub fn send(&mut self) -> Result<Rc<RefCell<Stream>>> {
        let level = if self.request.autocommit { 0 } else { xact::nest_level() };
        let stream = Rc::new(RefCell::new(Stream::new(level)));
        self.current = Some(Rc::clone(&stream));
        match self.session.flush(Patience::Interruptible) {
            Ok(()) => Ok(stream),
            Err(error) => Err(self.lost(error)),
        }
    }

    /// Reads up to the answer that starts a COPY: its type and body.
    pub fn advance_to_copy(&mut self) -> Result<(u8, Vec<u8>)> {
        while self.request.failed.is_none() && self.request.tag.is_none() {
            let frame = match self.session.next(Patience::Interruptible) {
                Ok(frame) => frame,
                Err(error) => return Err(self.lost(error)),
            };
            match frame.kind {
                b'G' => {
                    self.session.copy_in_began();
                    return Ok((b'G', frame.to_vec()));
                }
                b'H' => return Ok((b'H', frame.to_vec())),
                _ => self.take(&frame)?,
            };
        }
        let failed = self.request.failed.clone();
        self.end_copy()?;
        self.settle(Patience::Interruptible)?;
        Err(failed.unwrap_or_else(|| {
            Error::new(
                PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
                "the node did not take the statement for a COPY",
            )
        }))
    }

    /// Ends the pipeline of a COPY, whatever state it is in.
    pub fn end_copy(&mut self) -> Result<()> {
        self.session.sync();
        match self.session.flush(Patience::Interruptible) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.lost(error)),
        }
    }

    /// Sends the data written so far, and looks whether the node has refused it meanwhile.
    pub fn push_copy(&mut self) -> Result<()> {
        if let Err(error) = self.session.flush(Patience::Interruptible) {
            return Err(self.lost(error));
        }
        match self.session.try_next() {
            Ok(Some(frame)) => {
                self.take(&frame)?;
            }
            Ok(None) => {}
            Err(error) => return Err(self.lost(error)),
        }
        match self.request.failed.clone() {
            Some(error) => {
                self.end_copy()?;
                self.settle(Patience::Interruptible)?;
                Err(error)
            }
            None => Ok(()),
        }
    }

    /// Takes back what was written for a request that could not be written to its end.
    pub fn discard_request(&mut self) {
        self.session.discard_output();
        self.effects.clear();
    }

    pub fn new_portal(&mut self) -> u32 {
        self.last_portal += 1;
        self.last_portal
    }

    /// The portal is of no use any more: closed with the next request.
    pub fn close_portal(&mut self, portal: u32) {
        if self.block.is_open() {
            self.closing.push(portal);
        }
    }

    /// Forgets the statements that are kept prepared; they are closed with the next request.
    pub fn forget_statements(&mut self) {
        self.statements.clear();
    }

    pub fn is_current(&self, stream: &Rc<RefCell<Stream>>) -> bool {
        self.current.as_ref().is_some_and(|current| Rc::ptr_eq(current, stream))
    }

    /// Whether the request under way may be cancelled without harm to anything else.
    pub fn may_cancel(&self) -> bool {
        self.request.autocommit && !self.request.writes
    }

    /// Reads the request under way to its end; rows go to memory.
    pub fn settle(&mut self, patience: Patience) -> Result<()> {
        while let Some(stream) = self.current.clone() {
            if let Some(row) = self.advance(patience)? {
                let mut stream = stream.borrow_mut();
                if !stream.abandoned {
                    stream.keep(&row);
                }
            }
        }
        Ok(())
    }

    /// The next row of the request under way; None when it has ended, and its stream knows how.
    #[inline]
    pub fn advance(&mut self, patience: Patience) -> Result<Option<Frame>> {
        loop {
            let frame = match self.session.next(patience) {
                Ok(frame) => frame,
                Err(error) => return Err(self.lost(error)),
            };
            if matches!(frame.kind, b'D' | b'd') && self.effects.is_empty() {
                return Ok(Some(frame));
            }
            if self.take(&frame)? {
                return Ok(None);
            }
        }
    }

    /// Takes note of a message that is no row; true at the end of the request.
    pub fn take(&mut self, frame: &Frame) -> Result<bool> {
        match frame.kind {
            b'C' if !self.effects.is_empty() => self.confirm(),
            b'C' => {
                let tag = helios_core::frames::command_tag(frame).unwrap_or_default();
                self.request.tag = Some(tag.to_owned());
            }
            b'I' => self.request.tag = Some(String::new()),
            b's' => self.request.suspended = true,
            b'1' if self.effects.is_empty() => {
                if let Some((key, Known::Prepare(number))) = self.request.statement {
                    self.statements.parsed(key, number);
                }
            }
            b'1' | b'2' | b'3' | b'n' | b't' | b'T' | b'D' | b'd' | b'c' => {}
            b'E' => {
                let error = self.session.error(frame);
                if self.session.is_lost() {
                    return Err(self.lost(error));
                }
                let error = self.explain(error);
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

    fn confirm(&mut self) {
        match self.effects.pop_front() {
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
            None => {}
        }
    }

    /// Says where in the pipeline an error arose, if it was not the statement itself.
    fn explain(&mut self, error: Error) -> Error {
        match self.effects.front() {
            Some(Effect::Settings(settings, _)) => {
                let error = error.context("taking over the client's settings and role");
                match &settings.role {
                    Some(role) if error.is(PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE) => {
                        let role = String::from_utf8_lossy(role).into_owned();
                        error.hint(format!(
                            "Statements on a node run as the client's current role; grant \"{role}\" to the session's user, on the node too."
                        ))
                    }
                    _ => error,
                }
            }
            Some(Effect::Step(_)) => error.context("following the local transaction"),
            None => {
                if let Some((key, Known::Prepared(_))) = self.request.statement
                    && is_outdated(&error)
                {
                    self.statements.forget(key);
                }
                error
            }
        }
    }

    /// ReadyForQuery has arrived.
    fn finish(&mut self) {
        let request = std::mem::take(&mut self.request);
        let failed = request.failed.is_some();
        self.effects.clear();
        if request.autocommit || self.session.status() == b'I' {
            if failed { self.applied.roll_back(0) } else { self.applied.commit() }
        }
        if (self.session.status() != b'I') != self.block.is_open() {
            // A transaction was begun or ended behind our back. What follows must not run as if it were ours:
            // with the connection goes whatever is open there.
            self.session.give_up();
        }
        let outcome = match request {
            Request { failed: Some(error), .. } => Outcome::Failed(error),
            Request { tag: Some(tag), .. } => Outcome::Complete(tag),
            Request { suspended: true, .. } => Outcome::Suspended,
            _ => Outcome::Complete(String::new()),
        };
        if let Some(stream) = self.current.take() {
            stream.borrow_mut().outcome = Some(outcome);
        }
    }

    /// The connection is gone in the middle of a request.
    pub fn lost(&mut self, error: Error) -> Error {
        if !self.session.is_lost() {
            return error; // an interrupt's deadline, or what was written was refused
        }
        let request = std::mem::take(&mut self.request);
        let error =
            if request.autocommit && request.writes { unknown_outcome(error) } else { error };
        if let Some(stream) = self.current.take() {
            stream.borrow_mut().outcome = Some(Outcome::Failed(error.clone()));
        }
        error
    }

    /// The stream of the request under way, if it was started at this nesting level or below.
    pub fn has_request_within(&self, level: u32) -> bool {
        !self.session.is_at_rest()
            && self.current.as_ref().is_none_or(|current| current.borrow().level >= level)
    }

    /// Streams of a subtransaction that is part of its parent now belong to the parent.
    pub fn released(&mut self, level: u32) {
        if let Some(current) = &self.current {
            let mut stream = current.borrow_mut();
            stream.level = stream.level.min(level - 1);
        }
        self.block.released(level);
    }

    /// Nobody reads the request under way any more; a reader that comes back gets an error.
    pub fn drop_reader(&mut self) {
        if let Some(stream) = self.current.take() {
            stream.borrow_mut().outcome.get_or_insert_with(|| {
                Outcome::Failed(Error::new(
                    PgSqlErrorCode::ERRCODE_IN_FAILED_SQL_TRANSACTION,
                    "the transaction of this statement was rolled back",
                ))
            });
        }
    }

    /// Throws rows away until the request under way has ended, or the moment given. What the node did before it
    /// stopped is noted all the same: a savepoint may be there although its statement was cancelled.
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

    /// The node's transaction has ended: nothing of it is left.
    pub fn ended(&mut self, committed: bool) {
        if committed {
            self.applied.commit()
        } else {
            self.applied.roll_back(0)
        }
        self.block.end();
        self.closing.clear();
    }
}

/// Writes a step of the transaction and notes that its answer is to come.
fn send_step(session: &mut Session, effects: &mut VecDeque<Effect>, step: Step) -> Result<()> {
    messages::command(session.output(), sql_of(step).as_bytes())?;
    effects.push_back(Effect::Step(step));
    Ok(())
}

/// A step as a command.
pub fn sql_of(step: Step) -> String {
    match step {
        Step::Begin => xact::begin_command(),
        Step::ReadOnly => "SET TRANSACTION READ ONLY".to_owned(),
        Step::Savepoint(level) => format!("SAVEPOINT helios_{level}"),
        Step::RollbackTo(level) => format!("ROLLBACK TO SAVEPOINT helios_{level}"),
        Step::Release(level) => format!("RELEASE SAVEPOINT helios_{level}"),
    }
}

/// Whether a prepared statement cannot be used any more because what it reads has changed, or it is gone.
fn is_outdated(error: &Error) -> bool {
    error.is(PgSqlErrorCode::ERRCODE_INVALID_SQL_STATEMENT_NAME)
        || (error.is(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED)
            && error.fields().routine.as_deref() == Some(b"RevalidateCachedQuery"))
}

/// The node may have committed, or not: nobody can tell now.
pub fn unknown_outcome(cause: Error) -> Error {
    let mut error = Error::new(
        PgSqlErrorCode::ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN,
        "the node was lost before it said whether the transaction is committed",
    )
    .detail(cause.to_string())
    .hint("Look at the data before you run the transaction again.");
    if let Some(context) = &cause.fields().context {
        error = error.context(context.clone());
    }
    error
}
