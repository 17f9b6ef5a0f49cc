//! Pre-commit processing of the local transaction on its nodes.
//!
//! Nodes that were only read are released with COMMIT. If exactly one node was written and nothing here, its COMMIT
//! decides in one round trip. Otherwise every writer prepares (`two_phase`).
//!
//! Deferred constraints need no separate command: this server has checked its own before it calls us, and a node checks
//! its own when it prepares or commits.

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

/// Time limit for a read-only participant's response, once nothing depends on it anymore.
const RELEASE_TIME: Duration = Duration::from_secs(5);

/// Nodes that participate in the transaction.
struct Parties {
    /// Nodes with writes that have not been rolled back.
    writers: Links,
    /// All others.
    readers: Links,
}

/// Called before the local commit.
pub fn before_commit() -> Result<()> {
    let Parties { writers, readers } = parties()?;
    match writers.as_slice() {
        [] => release(&readers)?,
        [writer] if !xact::wrote_here() => decide_there(writer.as_ref(), &readers)?,
        writers => return two_phase::prepare(writers, &readers),
    }
    synchronous_replicas::before_commit()
}

/// Called before a user's local PREPARE TRANSACTION: every node prepares its part, so that the local transaction
/// decides.
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

/// Commits all read-only participants in parallel. Losing one is harmless; a serialization failure in one aborts the
/// transaction.
fn release(readers: &Links) -> Result<()> {
    if readers.is_empty() {
        return Ok(());
    }
    send_release(readers)?;
    end_release(readers, WaitPolicy::Commit)
}

/// Commits on the only node written; nothing was written here, so its COMMIT is the decision.
fn decide_there(writer: &RefCell<Link>, readers: &Links) -> Result<()> {
    // After the node has committed, nothing here may fail anymore, so check for serialization failures here first.
    xact::check_serialization();
    if xact::is_serializable() {
        release(readers)?; // they may refuse
        return commit(&mut *super::execution::borrow(writer)?, &Links::new());
    }
    send_release(readers)?;
    commit(&mut *super::execution::borrow(writer)?, readers)
}

/// Sends COMMIT to the node that decides; meanwhile the readers respond.
fn commit(link: &mut Link, readers: &Links) -> Result<()> {
    failpoint::hit(failpoint::COMMIT_BEFORE)?;
    let answer = send_end(link, b"COMMIT")
        .and_then(|()| link.session.flush(WaitPolicy::Commit))
        .and_then(|()| failpoint::hit(failpoint::COMMIT_SENT))
        .and_then(|()| read_end(link, WaitPolicy::Commit));
    // A reader's failure does not matter anymore: only a serialization failure would, which requires SERIALIZABLE.
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
        // COMMIT was sent but not confirmed: if the wait ends now, the outcome is unknown.
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
