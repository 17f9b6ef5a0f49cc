//! Commands that end transactions on nodes, and their responses.

use super::link::Link;
use super::links::Links;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::remote::{WaitPolicy, messages};
use pgrx::pg_sys::errcodes::PgSqlErrorCode;

/// Sends COMMIT to the readers.
pub fn send_release(readers: &Links) -> Result<()> {
    if readers.is_empty() {
        return Ok(());
    }
    failpoint::hit(failpoint::RELEASE_BEFORE)?;
    for reader in readers {
        let mut reader = super::execution::borrow(reader)?;
        send_end(&mut reader, b"COMMIT")?;
        match reader.session.flush(WaitPolicy::Commit) {
            Err(error) if !reader.session.is_lost() => return Err(error),
            _ => {}
        }
    }
    failpoint::hit(failpoint::RELEASE_SENT)
}

/// Reads the readers' responses.
pub fn end_release(readers: &Links, policy: WaitPolicy) -> Result<()> {
    let mut refused = Ok(());
    for reader in readers {
        let mut reader = super::execution::borrow(reader)?;
        let answer = read_end(&mut reader, policy);
        let committed = matches!(&answer, Ok(tag) if tag == "COMMIT");
        let lost = reader.session.is_lost();
        if lost || reader.session.status() == b'I' {
            reader.ended(committed);
        }
        if !lost && !committed && refused.is_ok() {
            refused = answer.and_then(|_| Err(rolled_back(&reader, "committing")));
        }
    }
    if !readers.is_empty() {
        failpoint::hit(failpoint::RELEASE_AFTER)?;
    }
    refused
}

/// In an aborted transaction, COMMIT is accepted but rolls back.
pub fn rolled_back(link: &Link, instead_of: &str) -> Error {
    Error::new(
        PgSqlErrorCode::ERRCODE_TRANSACTION_ROLLBACK,
        format!("the node rolled the transaction back instead of {instead_of} it"),
    )
    .context(link.session.context_line())
}

/// Sends the end of the transaction, after rolling back subtransactions that were aborted here.
pub fn send_end(link: &mut Link, command: &[u8]) -> Result<()> {
    let rollback = link.block.pending_rollback();
    if let Some(step) = rollback {
        let sql = super::link::sql_of(step);
        messages::command(link.session.output(), sql.as_bytes())?;
    }
    messages::command(link.session.output(), command)?;
    link.session.sync();
    Ok(())
}

/// Reads the responses to [`send_end`]: the tag of the last command, or the first error.
pub fn read_end(link: &mut Link, policy: WaitPolicy) -> Result<String> {
    let (mut tag, mut failed) = (String::new(), None);
    loop {
        let frame = link.session.next(policy)?;
        match frame.kind {
            b'C' => {
                helios_core::frames::command_tag(&frame).unwrap_or_default().clone_into(&mut tag)
            }
            b'E' => {
                let error = link.session.error(&frame);
                if link.session.is_lost() {
                    return Err(error);
                }
                failed.get_or_insert(error);
            }
            b'Z' => return failed.map_or(Ok(tag), Err),
            _ => {}
        }
    }
}
