//! Work on a node that is committed there after the local transaction has committed, without two-phase commit. Used
//! when the cluster itself is removed, together with the commit records.
//!
//! A node to which the transaction has also written takes part in the two-phase commit with all of its work.
//!
//! If this process dies between the two commits, the node's changes are lost, so callers only do work that can be
//! repeated manually.

use super::end::{read_end, send_end};
use super::link::Link;
use super::mode::Mode;
use super::{execution, links};
use crate::catalog::{NodeId, coordinator};
use crate::error::{Error, Result};
use crate::pg::error::notify;
use crate::pg::session::xact;
use crate::remote::WaitPolicy;
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::time::{Duration, Instant};

/// Time limit for the commit on a node.
const TIME: Duration = Duration::from_secs(5);

/// Runs a statement on a node now; its changes become visible after the local transaction has committed, and are rolled
/// back with it.
pub fn execute(node: NodeId, sql: &[u8]) -> Result<()> {
    execution::execute(node, sql, Mode::Transaction, false)?;
    let link = links::link(node)?;
    execution::borrow(&link)?.block.commits_afterwards(xact::nest_level());
    Ok(())
}

/// Rejects PREPARE TRANSACTION, after which nobody would commit the node's changes.
pub(super) fn refuse_to_prepare() -> Result<()> {
    if !links::any(|link| link.block.is_afterwards()) {
        return Ok(());
    }
    Err(Error::new(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        "cannot PREPARE a transaction that drops extension helios",
    )
    .detail("The nodes are released when the transaction commits.")
    .hint("Run DROP EXTENSION helios in a separate transaction that ends with COMMIT."))
}

/// Called after the local commit. Raises no errors: a node that does not respond is named in a warning.
pub(super) fn commit() {
    for link in links::all() {
        let Ok(mut link) = link.try_borrow_mut() else { continue };
        if !link.block.is_afterwards() {
            continue;
        }
        if let Err(error) = commit_there(&mut link) {
            link.session.give_up();
            warn_not_released(&link.node.name, &error);
        }
        link.ended(true);
    }
}

fn commit_there(link: &mut Link) -> Result<()> {
    if link.session.is_lost() {
        return Err(links::lost_earlier(link));
    }
    let policy = WaitPolicy::Until(Instant::now() + TIME);
    send_end(link, b"COMMIT")?;
    link.session.flush(policy)?;
    read_end(link, policy).map(|_| ())
}

/// Warns that a node was not released from the cluster, with the statement to release it manually.
pub fn warn_not_released(node: &str, error: &Error) {
    let message = format!("could not release node \"{node}\"");
    let warning =
        Error::new(Code::ERRCODE_WARNING, message).detail(error.to_string()).hint(format!(
            "Before adding it to another cluster, run this on the node: {}",
            coordinator::RELEASE
        ));
    notify(PgLogLevel::WARNING, &warning);
}
