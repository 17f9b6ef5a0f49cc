//! Transaction callbacks: actions on nodes when the local transaction commits or rolls back.
//!
//! At pre-commit, errors are possible and roll back everything. Later no error may be raised: the session of a node
//! that does not respond in time is closed, which aborts its transaction, or its prepared transaction is left to the
//! recovery worker.

use super::end::read_end;
use super::link::Link;
use super::{after_commit, client_settings, commit, links, synchronous_replicas, two_phase};
use crate::error::Result;
use crate::failpoint;
use crate::pg::error::notify;
use crate::pg::ipc::wait::{self, pay_latch, process_exits};
use crate::pg::session::xact::Event;
use crate::remote::{WaitPolicy, cancel_everything, messages};
use pgrx::PgLogLevel;
use std::time::{Duration, Instant};

/// Time limit for a node to roll back before its session is closed.
const ROLLBACK_TIME: Duration = Duration::from_secs(5);
/// How long to wait for the effect of a cancel request before it is sent again: the first may have arrived before the
/// statement.
const CANCEL_TIME: Duration = Duration::from_secs(1);

/// The transaction callback.
pub fn on_event(event: Event) -> Result<()> {
    let result = match event {
        _ if links::is_concerned() => handle(event),
        // Statements outside of transaction blocks have already been committed on their node.
        Event::PreCommit => synchronous_replicas::before_commit(),
        _ => Ok(()),
    };
    if event == Event::Abort && process_exits() {
        // Process exit does not unwind the stack, so cancel also in sessions that are held by its frames and are not links.
        cancel_everything();
    }
    match event {
        Event::Commit => synchronous_replicas::after_commit(),
        Event::Prepare | Event::Abort => synchronous_replicas::forget(),
        _ => {}
    }
    match event {
        Event::Commit | Event::Prepare | Event::Abort => {
            client_settings::transaction_ended(true);
            super::constraints::forget();
            super::snapshots::forget();
            wait::transaction_ended(!matches!(event, Event::Abort));
        }
        Event::SubCommit(_) | Event::SubAbort(_) => client_settings::transaction_ended(false),
        _ => {}
    }
    result
}

fn handle(event: Event) -> Result<()> {
    match event {
        Event::PreCommit => commit::before_commit(),
        Event::PrePrepare => {
            after_commit::refuse_to_prepare()?;
            commit::before_prepare()
        }
        Event::Prepare => {
            two_phase::leave_prepared(&links::all());
            links::forget_lost();
            pay_latch();
            failpoint::hit(failpoint::USER_PREPARE_AFTER)
        }
        Event::Commit => {
            let links = links::all();
            let finished = two_phase::commit_prepared(&links);
            if finished.is_err() {
                two_phase::leave_to_recovery(&links);
            }
            after_commit::commit();
            links::forget_lost();
            pay_latch();
            finished
        }
        Event::Abort => {
            abort();
            Ok(())
        }
        Event::SubCommit(level) => {
            for link in links::all() {
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

fn abort() {
    let mut interrupted_in_use = false;
    for link in links::all() {
        match link.try_borrow_mut() {
            Ok(mut link) => abort_link(&mut link),
            // The backend exits while stack frames still use this link: its socket is closed with the process.
            Err(_) => interrupted_in_use = true,
        }
    }
    if interrupted_in_use {
        cancel_everything();
    }
    links::forget_lost();
    pay_latch();
}

fn abort_link(link: &mut Link) {
    if link.prepared.is_some() && link.session.is_busy() {
        // Wait to find out whether it is prepared: the session can then roll it back itself.
        link.session.request_cancel();
        let policy = WaitPolicy::Until(Instant::now() + ROLLBACK_TIME);
        if two_phase::prepared(link, policy).is_err() && link.session.is_busy() {
            link.session.give_up();
        }
    }
    stop(link);
    if link.block.is_open() || link.session.status() != b'I' {
        let failed = failpoint::hit(failpoint::ROLLBACK_BEFORE);
        if failed.is_err() {
            link.session.give_up();
        }
        roll_back(link);
        if let Err(error) = failed.and_then(|()| failpoint::hit(failpoint::ROLLBACK_AFTER)) {
            notify(PgLogLevel::WARNING, &error);
        }
    }
    link.ended(false);
    two_phase::roll_back_prepared(link);
}

fn roll_back(link: &mut Link) {
    if link.session.is_lost() {
        return;
    }
    let policy = WaitPolicy::Until(Instant::now() + ROLLBACK_TIME);
    let done = messages::command(link.session.output(), b"ROLLBACK").and_then(|()| {
        link.session.sync();
        link.session.flush(policy)?;
        read_end(link, policy)
    });
    if done.is_err() || link.session.status() != b'I' {
        // Closing the connection rolls back as well.
        link.session.give_up();
    }
}

fn sub_abort(level: u32) {
    for link in links::all() {
        let Ok(mut link) = link.try_borrow_mut() else { continue };
        if link.has_request_within(level) {
            stop(&mut link);
        }
        link.rolled_back(level);
        // At once, not with the next statement, because other sessions wait for its locks.
        link.roll_back_now(Instant::now() + ROLLBACK_TIME);
    }
    pay_latch();
}

/// Drains or cancels the session's outstanding request. A session that does not become idle in time is closed.
fn stop(link: &mut Link) {
    link.drop_reader();
    if link.session.is_lost() || link.session.is_at_rest() {
        return;
    }
    let end = Instant::now() + ROLLBACK_TIME;
    if link.is_closing {
        link.drain(end);
    }
    if link.session.is_lost() || link.session.is_at_rest() {
        return;
    }
    if !link.session.abandon_request(end) {
        link.session.give_up();
        return;
    }
    while link.session.is_busy() && !link.session.is_lost() {
        link.session.request_cancel();
        link.drain(end.min(Instant::now() + CANCEL_TIME));
        if Instant::now() >= wait::bounded(end) && link.session.is_busy() {
            link.session.give_up();
        }
    }
}
