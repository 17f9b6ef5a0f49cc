//! Builds a request: first the commands that bring the node's session up to date, then the statement, all in one
//! pipeline, so that the statement is skipped if anything before it fails.

use super::*;

impl Link {
    /// Sends a statement; `portal` is the portal's number and the number of rows to fetch, unless all are. `writes`: it
    /// may change data.
    pub fn request(
        &mut self,
        st: &Statement<'_>,
        mode: Mode,
        portal: Option<(u32, u32)>,
        writes: bool,
    ) -> Result<Rc<RefCell<ResultStream>>> {
        let written = self.begin(mode, writes).and_then(|()| {
            self.bind(st, portal.map(|(number, _)| number))?;
            self.execute(portal)?;
            if writes { self.ask_for_id() } else { Ok(()) }
        });
        if let Err(error) = written {
            self.discard_request();
            return Err(error);
        }
        self.submit()
    }

    /// Prepares the session for a request: reads the rest of the current request into memory, then queues the commands
    /// that bring transaction and settings up to date.
    ///
    /// In a transaction, these precede the statement in the same pipeline. For a statement outside a transaction,
    /// changed settings are sent in a separate round trip, because some statements (VACUUM, procedures that commit)
    /// must be the first of their pipeline.
    pub fn begin(&mut self, mode: Mode, writes: bool) -> Result<()> {
        wait::forget_interrupt();
        if self.session.is_open() {
            self.end_copy()?; // left unfinished
        }
        self.settle(WaitPolicy::Interruptible)?;
        let autocommit = matches!(mode, Mode::Autocommit) && !self.block.is_open();
        self.request = Request { autocommit, ..Request::default() };
        self.effects.clear();
        self.close_leftovers()?;
        if !autocommit {
            self.catch_up()?;
            if writes {
                self.block.writes(xact::nest_level());
            }
        }
        self.follow_settings()?;
        if autocommit && !self.effects.is_empty() {
            let stream = self.submit()?;
            self.settle(WaitPolicy::Interruptible)?;
            if let Some(Outcome::Failed(error)) = stream.borrow_mut().outcome.take() {
                return Err(error);
            }
        }
        self.request = Request { autocommit, writes, ..Request::default() };
        self.wrote |= writes;
        Ok(())
    }

    pub(super) fn catch_up(&mut self) -> Result<()> {
        let (level, read_only) = (xact::nest_level(), xact::is_read_only());
        if self.block.is_at(level, read_only) {
            return Ok(());
        }
        if !self.block.is_open() {
            self.refuse_second_deferrable()?;
        }
        let (mut start, mut snapshot, mut constraints) = (None, None, None);
        if !self.block.is_open() {
            start = Some(crate::transaction::start_time::command());
            snapshot = crate::transaction::snapshots::command_for(&self.node)?;
            constraints = crate::transaction::constraints::all();
        }
        let Self { session, block, effects, .. } = self;
        block.steps(level, read_only, |step| {
            send_step(session, effects, step)?;
            // Right after BEGIN, so that it is not undone by a savepoint; the snapshot before anything that takes one.
            for sql in [start.take(), snapshot.take(), constraints.take()].into_iter().flatten() {
                messages::command(session.output(), &sql)?;
                effects.push_back(Effect::Done);
            }
            Ok(())
        })
    }

    /// Rolls back aborted subtransactions in a context where no error may be raised. What cannot be done now (rows of
    /// an outer statement are outstanding, or the node does not respond in time) is done with the next request.
    pub fn roll_back_now(&mut self, until: Instant) {
        let Some(steps) = self.block.undo() else { return };
        if self.is_closing {
            self.drain(until);
        }
        if self.session.is_lost() || !self.session.is_at_rest() {
            return;
        }
        self.request = Request::default();
        self.effects.clear();
        let Self { session, effects, .. } = self;
        let written = steps.iter().try_for_each(|step| send_step(session, effects, *step));
        self.session.sync();
        if written.is_ok() && self.session.flush(WaitPolicy::Until(until)).is_ok() {
            self.drain(until);
        }
        if self.session.is_busy() {
            self.session.give_up();
        }
    }

    /// A DEFERRABLE transaction waits for a snapshot that is safe from anomalies. Each node has its own; there is none
    /// that covers two nodes.
    fn refuse_second_deferrable(&self) -> Result<()> {
        if !xact::is_deferrable() || !crate::transaction::in_use() {
            return Ok(());
        }
        Err(Error::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "a SERIALIZABLE READ ONLY DEFERRABLE transaction cannot read on two nodes",
        )
        .detail(format!(
            "It has already read from another node than \"{}\", and the nodes' snapshots are not synchronized.",
            self.node.name
        ))
        .hint("Read from each node in a separate transaction."))
    }

    pub(super) fn follow_settings(&mut self) -> Result<()> {
        let epoch = crate::transaction::client_settings::epoch();
        if epoch == self.applied.epoch() {
            return Ok(());
        }
        let wanted = crate::transaction::client_settings::snapshot();
        if let Some(setting) = &wanted.beyond_reach {
            return Err(self.cannot_follow(setting));
        }
        let change = if self.applied.is_unknown() {
            messages::command(self.session.output(), b"RESET ALL")?;
            self.effects.push_back(Effect::Done);
            if self.session.has_transaction_timeout() {
                let own = Session::NO_TRANSACTION_TIMEOUT.as_bytes();
                messages::command(self.session.output(), own)?;
                self.effects.push_back(Effect::Done);
            }
            // No role has an empty name, so the role will be set whatever it is now.
            let anybody = Snapshot { role: Some(Vec::new()), ..Snapshot::default() };
            difference(&anybody, &wanted)
        } else {
            difference(self.applied.now(), &wanted)
        };
        match change {
            Some(sql) => {
                messages::command(self.session.output(), &sql)?;
                self.effects.push_back(Effect::Settings(wanted, epoch));
            }
            None => self.applied.equals(epoch),
        }
        Ok(())
    }

    /// A setting that affects statements was changed by a function with superuser privileges, and the session's user
    /// may not change it on a node.
    fn cannot_follow(&self, setting: &[u8]) -> Error {
        let setting = String::from_utf8_lossy(setting);
        Error::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("cannot apply setting \"{setting}\" on node \"{}\"", self.node.name),
        )
        .detail("A function with different privileges changed the setting, but the session's user lacks permission to \
            set it.")
        .hint("Run the statements that need the setting inside that function, or let the function restore it.")
    }

    pub(super) fn close_leftovers(&mut self) -> Result<()> {
        for portal in std::mem::take(&mut self.closing) {
            self.set_name(b'p', portal);
            messages::close(self.session.output(), b'P', &self.name)?;
            self.being_closed.push(portal);
        }
        if self.statements.has_closing() {
            for statement in self.statements.take_closing() {
                self.set_name(b's', statement);
                messages::close(self.session.output(), b'S', &self.name)?;
            }
        }
        Ok(())
    }

    pub(super) fn set_name(&mut self, kind: u8, number: u32) {
        self.name.clear();
        // Writing to a Vec cannot fail.
        let _ = write!(self.name, "helios_{}{number}", kind as char);
    }

    /// Queues Parse (unless prepared) and Bind of a statement; `portal` names it.
    pub fn bind(&mut self, st: &Statement<'_>, portal: Option<u32>) -> Result<()> {
        let portal = portal.map(|portal| {
            self.set_name(b'p', portal);
            self.name.clone()
        });
        let known = if st.reuse {
            let definitions = invalidation::relations();
            let (key, known) = self.statements.look_up(st, definitions);
            self.request.statement = Some(Sent { key, known, definitions });
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
        messages::bind(out, portal, &self.name, st.values, st.result_formats)?;
        // A prepared statement was described before, and the node rejects it if its columns have changed.
        if st.columns.described != 0 && !matches!(known, Known::Prepared(_)) {
            self.request.columns = st.columns.described;
            messages::describe(out, b'P', portal)?;
        }
        Ok(())
    }

    /// Queues a Describe of a statement, which must have these columns.
    pub fn describe(&mut self, sql: &[u8], columns: ResultColumns) -> Result<()> {
        self.request.columns = columns.described;
        let out = self.session.output();
        messages::parse(out, b"", sql, &[])?;
        messages::describe(out, b'S', b"")
    }

    /// Writes a question for the columns of a portal, which must be these.
    pub fn describe_portal(&mut self, portal: u32, columns: ResultColumns) -> Result<()> {
        if columns.described == 0 {
            return Ok(());
        }
        self.request.columns = columns.described;
        self.set_name(b'p', portal);
        messages::describe(self.session.output(), b'P', &self.name)
    }

    /// Queues a statement that precedes the request's own, in the same round trip.
    pub fn ahead(&mut self, sql: &[u8]) -> Result<()> {
        messages::command(self.session.output(), sql)?;
        self.effects.push_back(Effect::Counted);
        Ok(())
    }

    /// The same for a statement with parameters.
    pub fn ahead_of(&mut self, st: &Statement<'_>) -> Result<()> {
        let out = self.session.output();
        messages::parse(out, b"", st.sql, st.types)?;
        messages::bind(out, b"", b"", st.values, &[])?;
        messages::execute(out, b"", 0)?;
        self.effects.push_back(Effect::Counted);
        Ok(())
    }

    /// Queues Execute of a portal.
    pub fn execute(&mut self, portal: Option<(u32, u32)>) -> Result<()> {
        match portal {
            None => messages::execute(self.session.output(), b"", 0),
            Some((portal, rows)) => {
                self.set_name(b'p', portal);
                messages::execute(self.session.output(), &self.name, rows)
            }
        }
    }

    /// After a writing statement, queries the node's transaction ID in the same round trip, if it is not known. If the
    /// response to COMMIT is lost, the node can be asked for the outcome of that transaction.
    ///
    /// For a statement that commits by itself this is done only if the client wants it, because the node must send the
    /// ID before it commits, and this process is woken up once more.
    pub fn ask_for_id(&mut self) -> Result<()> {
        const NAME: &[u8] = b"helios_id";
        const SQL: &[u8] = b"SELECT pg_catalog.pg_current_xact_id_if_assigned()";
        let alone = self.request.autocommit;
        let known =
            if alone { !settings::NAME_SINGLE_WRITES.get() } else { self.block.xid.is_some() };
        if known {
            return Ok(());
        }
        self.request.asks = true;
        let out = self.session.output();
        if !self.can_ask {
            messages::close(out, b'S', NAME)?; // a function may have left it, or not
            messages::parse(out, NAME, SQL, &[])?;
        }
        messages::bind(out, b"", NAME, &[], &[])?;
        messages::execute(out, b"", 0)?;
        if alone {
            messages::bare(out, b'H');
        }
        Ok(())
    }

    /// Ends the pipeline and sends it. Its responses go to the returned stream.
    pub fn submit(&mut self) -> Result<Rc<RefCell<ResultStream>>> {
        self.end_pipeline()?;
        self.send(xact::nest_level())
    }

    /// Like [`Self::submit`], for a portal of an outer nesting level, whose rows outlive the current one.
    pub fn submit_at(&mut self, level: u32) -> Result<Rc<RefCell<ResultStream>>> {
        self.end_pipeline()?;
        self.send(level)
    }

    /// Queues the end of a pipeline. In a transaction the unnamed portal would otherwise stay open, and with it the
    /// statement's snapshot, which holds back VACUUM and CREATE INDEX CONCURRENTLY.
    pub(super) fn end_pipeline(&mut self) -> Result<()> {
        if !self.request.autocommit {
            messages::close(self.session.output(), b'P', b"")?;
        }
        self.session.sync();
        Ok(())
    }

    /// Closes unused portals when the client's statement is done, because the next one may be long in coming and their
    /// snapshots are held until then. Raises no errors and does not wait for the response, which is read with that of
    /// the next request.
    pub fn close_portals_now(&mut self, until: Instant) {
        if self.closing.is_empty() || self.session.is_lost() || !self.session.is_at_rest() {
            return;
        }
        self.request = Request::default();
        self.effects.clear();
        let written = self.close_leftovers();
        self.session.sync();
        self.being_closed.clear();
        self.is_closing = true;
        if written.is_err() || self.session.flush(WaitPolicy::Until(until)).is_err() {
            self.session.give_up();
        }
    }

    /// Sends the pipeline without ending it.
    pub fn send(&mut self, level: u32) -> Result<Rc<RefCell<ResultStream>>> {
        let level = if self.request.autocommit { 0 } else { level };
        let stream = Rc::new(RefCell::new(ResultStream::new(level)));
        self.current = Some(Rc::clone(&stream));
        self.being_closed.clear();
        match self.session.flush(WaitPolicy::Interruptible) {
            Ok(()) => Ok(stream),
            Err(error) => Err(self.lost(error)),
        }
    }

    /// Discards a request that could not be built completely.
    pub fn discard_request(&mut self) {
        self.session.discard_output();
        self.closing.append(&mut self.being_closed);
        self.effects.clear();
    }
}

/// Queues a step of the transaction, and its effect.
fn send_step(session: &mut Session, effects: &mut VecDeque<Effect>, step: Step) -> Result<()> {
    messages::command(session.output(), sql_of(step).as_bytes())?;
    effects.push_back(Effect::Step(step));
    Ok(())
}
