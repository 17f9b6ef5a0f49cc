//! The local transaction is about to commit: what has to happen on its nodes before.
//!
//! Nodes that were only read are let go with COMMIT. If one node alone was written, and nothing here, its COMMIT
//! decides, in one round trip. Else every writer prepares (`two_phase`).
//!
//! Deferred constraints need no command of their own: this server has checked its own before it calls us, and a
//! node checks its when it prepares or commits.

use super::end::{end_release, read_end, rolled_back, send_end, send_release};
use super::link::{Link, unknown_outcome};
use super::links::Links;
use super::{links, synchronous_replicas, two_phase};
use crate::error::Result;
use crate::failpoint;
use crate::pg::ipc::wait::explain_cancel;
use crate::pg::session::xact;
use crate::remote::WaitPolicy;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// How long a node that was only read may take to say so, once nothing depends on it any more.
const RELEASE_TIME: Duration = Duration::from_secs(5);

/// Nodes that take part in the transaction.
struct Parties {
    /// Those where something was written that is not rolled back.
    writers: Links,
    /// The others.
    readers: Links,
}

/// Before the local COMMIT.
pub fn before_commit() -> Result<()> {
    let Parties { writers, readers } = parties()?;
    match writers.as_slice() {
        [] => release(&readers)?,
        [writer] if !xact::wrote_here() => decide_there(writer.as_ref(), &readers)?,
        writers => return two_phase::prepare(writers, &readers),
    }
    synchronous_replicas::before_commit()
}

/// Before the local PREPARE TRANSACTION of a user: every node prepares its part, so that the local one decides.
pub fn before_prepare() -> Result<()> {
    let Parties { writers, readers } = parties()?;
    if writers.is_empty() { release(&readers) } else { two_phase::prepare(&writers, &readers) }
}

fn parties() -> Result<Parties> {
    let mut parties = Parties { writers: Links::new(), readers: Links::new() };
    for link in links::all() {
        let mut l = super::execution::borrow(&link)?;
        l.settle(WaitPolicy::Interruptible)?;
        let wrote = l.block.wrote();
        if !l.block.is_open() || (l.block.is_afterwards() && !wrote) {
            continue;
        }
        if l.session.is_lost() {
            if wrote {
                return Err(links::lost_earlier(&l));
            }
            l.ended(false); // it only read: nothing is lost with it
            continue;
        }
        drop(l);
        if wrote { &mut parties.writers } else { &mut parties.readers }.push(link);
    }
    Ok(parties)
}

/// Lets the readers go, all at once. That one is lost changes nothing; that one refuses (a serialization failure)
/// does.
fn release(readers: &Links) -> Result<()> {
    if readers.is_empty() {
        return Ok(());
    }
    send_release(readers)?;
    end_release(readers, WaitPolicy::Commit)
}

/// One node wrote, and nothing was written here: its COMMIT is the decision.
fn decide_there(writer: &RefCell<Link>, readers: &Links) -> Result<()> {
    // Once the node has committed, nothing here may fail any more: this server's own last check comes before.
    xact::check_serialization();
    if xact::is_serializable() {
        release(readers)?; // they may refuse
        return commit(&mut *super::execution::borrow(writer)?, &Links::new());
    }
    send_release(readers)?;
    commit(&mut *super::execution::borrow(writer)?, readers)
}

/// COMMIT on the node that decides; meanwhile the readers answer.
fn commit(link: &mut Link, readers: &Links) -> Result<()> {
    failpoint::hit(failpoint::COMMIT_BEFORE)?;
    let answer = send_end(link, b"COMMIT")
        .and_then(|()| link.session.flush(WaitPolicy::Commit))
        .and_then(|()| failpoint::hit(failpoint::COMMIT_SENT))
        .and_then(|()| read_end(link, WaitPolicy::Commit));
    // A reader's refusal changes nothing any more: without SERIALIZABLE there is none that would matter.
    let _ = end_release(readers, WaitPolicy::Until(Instant::now() + RELEASE_TIME));
    match answer {
        Ok(tag) if tag == "COMMIT" => {
            let own = link.own_gid();
            link.ended(true);
            failpoint::hit(failpoint::COMMIT_AFTER).map_err(|error| unknown_outcome(own, &error))
        }
        Ok(_) => {
            link.ended(false);
            Err(rolled_back(link, "committing"))
        }
        // Asked for and not answered: whoever gives up now cannot know.
        Err(error) if link.session.is_lost() || link.session.is_busy() => {
            let error = unknown_outcome(link.own_gid(), &error);
            link.session.give_up();
            link.ended(false);
            Err(error)
        }
        Err(error) => {
            if link.session.status() == b'I' {
                link.ended(false);
            }
            let cancelled = error.is(PgSqlErrorCode::ERRCODE_QUERY_CANCELED);
            Err(if cancelled { explain_cancel(error) } else { error })
        }
    }
}
