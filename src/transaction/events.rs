//! What happens on the nodes when the local transaction commits or rolls back.
//!
//! At pre-commit errors are possible, and roll everything back. Later nothing may be raised: a node that does
//! not answer in time loses its session, and with it its transaction, or leaves its prepared transaction to the
//! recovery worker.

use super::link::{Link, unknown_outcome};
use super::{follow, registry, two_phase};
use crate::error::{Error, Result};
use crate::pg::wait::{self, pay_latch};
use crate::pg::xact::{self, Event};
use crate::remote::{Patience, cancel_everything, messages};
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a node may take to roll back before its session is closed.
const ROLLBACK_TIME: Duration = Duration::from_secs(5);
/// How long to wait for the effect of a cancel request before it is sent again: the first may have arrived
/// before the statement did.
const CANCEL_TIME: Duration = Duration::from_secs(1);

pub type Links = Vec<Rc<RefCell<Link>>>;

/// The listener of the local transaction.
pub fn on_event(event: Event) -> Result<()> {
    let result = if registry::is_concerned() { handle(event) } else { Ok(()) };
    match event {
        Event::Commit | Event::Abort => {
            follow::transaction_ended(true);
            super::forget_constraints();
            wait::transaction_ended(!matches!(event, Event::Abort));
        }
        Event::SubCommit(_) | Event::SubAbort(_) => follow::transaction_ended(false),
        _ => {}
    }
    result
}

fn handle(event: Event) -> Result<()> {
    match event {
        Event::PreCommit => pre_commit(),
        Event::PrePrepare => refuse_prepare(),
        Event::Commit => {
            two_phase::commit_prepared(&registry::all());
            registry::forget_lost();
            pay_latch();
            Ok(())
        }
        Event::Abort => {
            abort();
            Ok(())
        }
        Event::SubCommit(level) => {
            for link in registry::all() {
                if let Ok(mut link) = link.try_borrow_mut() {
                    link.released(level);
                }
            }
            Ok(())
        }
        Event::SubAbort(level) => {
            sub_abort(level);
            Ok(())
        }
    }
}

fn pre_commit() -> Result<()> {
    let mut open = Links::new();
    for link in registry::all() {
        let mut l = super::execution::borrow(&link)?;
        l.settle(Patience::Interruptible)?;
        if !l.block.is_open() {
            continue;
        }
        if !l.session.is_lost() {
            drop(l);
            open.push(link);
        } else if l.block.wrote {
            return Err(registry::lost_earlier(&l));
        } else {
            l.ended(false); // it only read: nothing is lost with it
        }
    }
    let (writers, readers): (Links, Links) = open.into_iter().partition(|l| l.borrow().block.wrote);
    for reader in readers {
        commit_reader(&mut reader.borrow_mut())?;
    }
    match writers.as_slice() {
        [] => Ok(()),
        [writer] if !xact::wrote_here() => commit(&mut writer.borrow_mut()),
        writers => two_phase::prepare(writers),
    }
}

/// COMMIT on a node that decides alone.
fn commit(link: &mut Link) -> Result<()> {
    match end_block(link, b"COMMIT") {
        Ok(tag) if tag == "COMMIT" => {
            link.ended(true);
            Ok(())
        }
        Ok(_) => {
            link.ended(false);
            Err(Error::new(
                PgSqlErrorCode::ERRCODE_TRANSACTION_ROLLBACK,
                "the node rolled the transaction back instead of committing it",
            )
            .context(link.session.context_line()))
        }
        Err(error) if link.session.is_lost() => {
            link.ended(false);
            Err(unknown_outcome(error))
        }
        Err(error) => {
            if link.session.status() == b'I' {
                link.ended(false);
            }
            Err(error)
        }
    }
}

/// COMMIT where nothing was written: that the node is lost changes nothing; that it refuses (a serialization
/// failure) does.
fn commit_reader(link: &mut Link) -> Result<()> {
    match commit(link) {
        Err(_) if link.session.is_lost() => Ok(()),
        result => result,
    }
}

/// Undoes what subtransactions left behind, then runs the command that ends the transaction; its tag.
pub fn end_block(link: &mut Link, command: &[u8]) -> Result<String> {
    send_end(link, command)?;
    link.session.flush(Patience::Commit)?;
    read_end(link, Patience::Commit)
}

/// Writes the end of the transaction.
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

/// Reads the answers to [`send_end`]: the tag of the last command, or the first error.
pub fn read_end(link: &mut Link, patience: Patience) -> Result<String> {
    let (mut tag, mut failed) = (String::new(), None);
    loop {
        let frame = link.session.next(patience)?;
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

fn abort() {
    let mut interrupted_in_use = false;
    for link in registry::all() {
        match link.try_borrow_mut() {
            Ok(mut link) => abort_link(&mut link),
            // The backend ends on top of the frames that use this link: its socket closes with the process.
            Err(_) => interrupted_in_use = true,
        }
    }
    if interrupted_in_use {
        cancel_everything();
    }
    registry::forget_lost();
    pay_latch();
}

fn abort_link(link: &mut Link) {
    stop(link);
    if link.block.is_open() || link.session.status() != b'I' {
        roll_back(link);
    }
    link.ended(false);
    two_phase::roll_back_prepared(link);
}

fn roll_back(link: &mut Link) {
    if link.session.is_lost() {
        return;
    }
    let patience = Patience::Until(Instant::now() + ROLLBACK_TIME);
    let done = messages::command(link.session.output(), b"ROLLBACK").and_then(|()| {
        link.session.sync();
        link.session.flush(patience)?;
        read_end(link, patience)
    });
    if done.is_err() || link.session.status() != b'I' {
        // Closing the connection rolls back as well.
        link.session.give_up();
    }
}

fn sub_abort(level: u32) {
    for link in registry::all() {
        let Ok(mut link) = link.try_borrow_mut() else { continue };
        if link.has_request_within(level) {
            stop(&mut link);
        }
        link.rolled_back(level);
        // At once, not with the next statement: other sessions wait for the locks that it held.
        link.roll_back_now(Instant::now() + ROLLBACK_TIME);
    }
    pay_latch();
}

/// Brings a session that may be in the middle of a request to rest. One that does not come to rest in time is
/// given up.
fn stop(link: &mut Link) {
    link.drop_reader();
    if link.session.is_lost() || link.session.is_at_rest() {
        return;
    }
    let end = Instant::now() + ROLLBACK_TIME;
    if !link.session.abandon_request(end) {
        link.session.give_up();
        return;
    }
    while link.session.is_busy() && !link.session.is_lost() {
        link.session.request_cancel();
        link.drain(end.min(Instant::now() + CANCEL_TIME));
        if Instant::now() >= end && link.session.is_busy() {
            link.session.give_up();
        }
    }
}

fn refuse_prepare() -> Result<()> {
    for link in registry::all() {
        let link = super::execution::borrow(&link)?;
        if link.block.is_open() {
            return Err(Error::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "cannot PREPARE a transaction that has used distributed schemas",
            )
            .detail(format!("It has used node \"{}\".", link.node.name))
            .hint("Use COMMIT: Helios itself commits atomically on all nodes."));
        }
    }
    Ok(())
}
