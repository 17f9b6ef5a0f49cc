//! COPY as a request that stays open while data is transferred.

use super::*;

impl Link {
    /// Reads up to the message that starts a COPY; returns its type and body.
    pub fn advance_to_copy(&mut self) -> Result<(u8, Vec<u8>)> {
        while self.request.failed.is_none() && self.request.tag.is_none() {
            let frame = match self.session.next(WaitPolicy::Interruptible) {
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
        self.settle(WaitPolicy::Interruptible)?;
        Err(failed.unwrap_or_else(|| {
            Error::new(
                PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
                "the node did not execute the statement as a COPY",
            )
        }))
    }

    /// Sets the encoding of the data for the COPY that was just bound. The statement itself uses the database's
    /// encoding, so this follows it in the pipeline. Reset at the end of the transaction, or by [`Self::end_copy`].
    pub fn use_encoding(&mut self, encoding: &str) -> Result<()> {
        const NAME: &[u8] = b"helios_encoding";
        let mut sql = b"SELECT pg_catalog.set_config('client_encoding',".to_vec();
        messages::literal(&mut sql, encoding.as_bytes());
        sql.extend_from_slice(b", true)");
        let out = self.session.output();
        messages::parse(out, NAME, &sql, &[])?;
        messages::bind(out, NAME, NAME, &[], &[])?;
        messages::execute(out, NAME, 0)?;
        messages::close(out, b'P', NAME)?;
        messages::close(out, b'S', NAME)?;
        self.effects.push_back(Effect::Encoding(encoding.to_owned()));
        Ok(())
    }

    /// Ends the pipeline of a COPY in any state.
    pub fn end_copy(&mut self) -> Result<()> {
        if self.session.has_foreign_encoding() {
            let mut sql = b"SELECT pg_catalog.set_config('client_encoding',".to_vec();
            messages::literal(&mut sql, local::encoding().as_bytes());
            sql.extend_from_slice(b", true)");
            messages::command(self.session.output(), &sql)?;
        }
        self.end_pipeline()?;
        match self.session.flush(WaitPolicy::Interruptible) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.lost(error)),
        }
    }

    /// Sends the data written so far, and checks whether the node has raised an error in the meantime.
    pub fn push_copy(&mut self) -> Result<()> {
        if let Err(error) = self.session.flush(WaitPolicy::Interruptible) {
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
                self.settle(WaitPolicy::Interruptible)?;
                Err(error)
            }
            None => Ok(()),
        }
    }
}
