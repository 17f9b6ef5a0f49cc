//! Two-phase commit: PREPARE TRANSACTION on each node that wrote, a commit record here in the same local
//! transaction, COMMIT PREPARED once that is committed. A record means commit, none means abort; whatever is
//! left prepared is finished by the recovery worker.

use super::events::{Links, read_end, send_end};
use super::link::Link;
use crate::directory;
use crate::error::{Error, Result};
use crate::pg::worker::{self, Work};
use crate::pg::{catalog, error::notify, session as local, transaction_records, xact};
use crate::remote::{Patience, messages};
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a node may take to finish a prepared transaction before that is left to the recovery worker.
const FINISH_TIME: Duration = Duration::from_secs(10);

/// Name of the n-th prepared transaction of the current local one.
fn gid(n: usize) -> Result<String> {
    let (epoch, xid) = xact::full_id();
    let cluster = directory::cluster_id()?;
    Ok(format!("helios_{cluster}_{}_{epoch}_{xid}_{n}", local::database_id()))
}

/// Phase one, on all nodes at once, then the commit records.
pub fn prepare(writers: &[Rc<RefCell<Link>>]) -> Result<()> {
    // Noted before anything is prepared: this process may not live to do it later.
    worker::note(local::database_id(), Work::Pending);
    let mut records = Vec::new();
    for (n, link) in writers.iter().enumerate() {
        let mut link = link.borrow_mut();
        let gid = gid(n + 1)?;
        send_end(&mut link, format!("PREPARE TRANSACTION '{gid}'").as_bytes())?;
        records.push((gid, link.node.id.0));
    }
    for (link, (gid, _)) in writers.iter().zip(&records) {
        let mut link = link.borrow_mut();
        // From here on the node may be left with it, whatever else happens.
        link.prepared = Some(gid.clone());
        link.session.flush(Patience::Commit)?;
    }
    let mut failed = None;
    for link in writers {
        if let Err(error) = prepared(&mut link.borrow_mut()) {
            failed.get_or_insert(error);
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    let table = catalog::relation("helios", "transaction").ok_or_else(|| {
        Error::new(PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE, "helios.transaction does not exist")
    })?;
    transaction_records::insert(table, &records);
    Ok(())
}

/// Reads the answer to PREPARE TRANSACTION.
fn prepared(link: &mut Link) -> Result<()> {
    let answer = read_end(link, Patience::Commit);
    if link.session.is_lost() {
        link.ended(false);
        return answer.map(|_| ());
    }
    let refused = match answer {
        Ok(tag) if tag == "PREPARE TRANSACTION" => None,
        // In a failed transaction the command is accepted and means ROLLBACK.
        Ok(_) => Some(
            Error::new(
                PgSqlErrorCode::ERRCODE_TRANSACTION_ROLLBACK,
                "the node rolled the transaction back instead of preparing it",
            )
            .context(link.session.context_line()),
        ),
        Err(error) => Some(error),
    };
    let is_over = link.session.status() == b'I';
    if refused.is_some() {
        link.prepared = None;
    }
    if is_over {
        link.ended(refused.is_none());
    }
    refused.map_or(Ok(()), Err)
}

/// Phase two after the local commit: on all nodes at once. What cannot be finished is left to recovery.
pub fn commit_prepared(links: &Links) {
    let deadline = Patience::Until(Instant::now() + FINISH_TIME);
    let mut sent = Vec::new();
    for link in links {
        let Ok(mut l) = link.try_borrow_mut() else { continue };
        if let Some(gid) = l.prepared.take() {
            let outcome = send_finish(&mut l, "COMMIT", &gid, deadline);
            sent.push((Rc::clone(link), gid, outcome));
            // The record is of no use from here on; whoever tidies up may have looked before there was one.
            worker::note(local::database_id(), Work::Pending);
        }
    }
    for (link, gid, outcome) in sent {
        let Ok(mut link) = link.try_borrow_mut() else { continue };
        let outcome = outcome.and_then(|()| read_end(&mut link, deadline));
        if let Err(cause) = outcome {
            give_up_unless_ready(&mut link);
            left_behind(&link, &gid, "commit", &cause);
        }
    }
}

/// After a local rollback: a transaction that this session left prepared is rolled back.
pub fn roll_back_prepared(link: &mut Link) {
    let Some(gid) = link.prepared.take() else { return };
    let deadline = Patience::Until(Instant::now() + FINISH_TIME);
    let outcome =
        send_finish(link, "ROLLBACK", &gid, deadline).and_then(|()| read_end(link, deadline));
    match outcome {
        Ok(_) => {}
        // It never came to be prepared.
        Err(cause) if cause.is(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT) => {}
        Err(cause) => {
            give_up_unless_ready(link);
            left_behind(link, &gid, "roll back", &cause);
        }
    }
}

fn send_finish(link: &mut Link, verb: &str, gid: &str, patience: Patience) -> Result<()> {
    if link.session.is_lost() {
        return Err(super::registry::lost_earlier(link));
    }
    let sql = format!("{verb} PREPARED '{gid}'");
    messages::command(link.session.output(), sql.as_bytes())?;
    link.session.sync();
    link.session.flush(patience)
}

fn give_up_unless_ready(link: &mut Link) {
    if link.session.is_busy() {
        link.session.give_up();
    }
}

fn left_behind(link: &Link, gid: &str, verb: &str, cause: &Error) {
    worker::note(local::database_id(), Work::Pending);
    let warning = Error::new(
        PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE,
        format!(
            "could not {verb} prepared transaction \"{gid}\" on node \"{}\" yet",
            link.node.name
        ),
    )
    .detail(cause.to_string())
    .hint("The recovery worker will do it when the node answers.");
    notify(PgLogLevel::WARNING, &warning);
}

/// The (database, epoch, xid) in the name of a prepared transaction of this cluster.
pub fn parse_gid(gid: &str, cluster: i64) -> Option<(u32, u32, u32)> {
    let rest = gid.strip_prefix("helios_")?.strip_prefix(&format!("{cluster}_"))?;
    let mut parts = rest.split('_').map(|part| part.parse::<u32>().ok());
    let parsed = (parts.next()??, parts.next()??, parts.next()??);
    parts.next()??;
    parts.next().is_none().then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_cluster_are_ours() {
        assert_eq!(parse_gid("helios_-7_16384_0_741_2", -7), Some((16384, 0, 741)));
        for foreign in [
            "helios_8_1_0_7_1",
            "helios_-7_1_0_7",
            "helios_-7_1_0_7_1_1",
            "other",
            "helios_-7_x_0_7_1",
        ] {
            assert_eq!(parse_gid(foreign, -7), None, "{foreign}");
        }
    }
}
