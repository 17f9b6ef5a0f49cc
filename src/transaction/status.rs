//! Looks up the outcome of a transaction by its name, and finishes transactions prepared by users.

use super::gid::Gid;
use super::recovery::recover;
use super::target::target;
use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::pg::catalog::privileges;
use crate::pg::error::notify;
use crate::pg::session as local;
use crate::pg::session::{sql, transaction_ids};
use crate::remote::Session;
use crate::shared::server_epoch;
use crate::shared::worker_slots::{self, Work};
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Time limit for COMMIT PREPARED or ROLLBACK PREPARED on nodes before that is left to the worker.
const FOLLOW_TIME: Duration = Duration::from_secs(10);

/// State of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Committed; on its nodes, too, or about to be.
    Committed,
    /// Rolled back, or about to be.
    Aborted,
    /// Not ended yet.
    InProgress,
    /// Ended so long ago that its outcome is no longer known.
    Unknown,
}

impl Status {
    /// The name that `pg_xact_status()` uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Aborted => "aborted",
            Self::InProgress => "in progress",
            Self::Unknown => "unknown",
        }
    }

    fn from_name(name: Option<&str>) -> Self {
        match name {
            Some("committed") => Self::Committed,
            Some("aborted") => Self::Aborted,
            Some("in progress") => Self::InProgress,
            _ => Self::Unknown,
        }
    }
}

/// Looks up the outcome of a transaction of this database. 22023 if the name is invalid; 08001 if the only node that
/// knows cannot be reached.
pub fn status(name: &str) -> Result<Status> {
    let no_such = |detail: &str| {
        Error::new(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("\"{name}\" is not the name of a transaction of this database"),
        )
        .detail(detail.to_owned())
        .hint("Transaction names are shown in the detail of errors with SQLSTATE 08007 and in the view \
            helios_transactions.")
    };
    let gid = Gid::parse(name, catalog::cluster_id()?).ok_or_else(|| {
        no_such("It does not have the format of a transaction name of this cluster.")
    })?;
    if gid.database() != local::database_id() {
        return Err(no_such("It belongs to another database of this server."));
    }
    match gid {
        Gid::Part { epoch, xid, .. } => here(epoch, xid),
        Gid::Own { node, id, .. } => there(NodeId(node), id),
    }
}

const ASK: &str = "SELECT pg_catalog.pg_xact_status";

fn here(epoch: u128, xid: u32) -> Result<Status> {
    super::standby::refuse()?;
    let own = server_epoch::epoch();
    if epoch > own {
        return Ok(Status::Unknown); // of a coordinator that was promoted after this one
    }
    // A crash happened before it was durable, and its ID may have been reused.
    let lost = |id: &u64| epoch < own && *id >= server_epoch::first_id();
    let Some(id) = transaction_ids::full_id(xid).filter(|id| !lost(id)) else {
        return Ok(Status::Aborted);
    };
    let id = id.to_string();
    let status = sql::one::<String>(&format!("{ASK}($1::pg_catalog.xid8)"), &[id.as_str().into()])?;
    Ok(Status::from_name(status.as_deref()))
}

fn there(node: NodeId, id: u64) -> Result<Status> {
    let node = catalog::node(node)?;
    let role = privileges::session_user();
    let mut session = Session::connect(&Rc::new(target(&node, &role)?), &role)?;
    match session.query(&format!("{ASK}('{id}'::pg_catalog.xid8)")) {
        // The node has not assigned this ID yet: it was lost in a crash or failover, so the transaction did not commit.
        Err(error) if error.is(Code::ERRCODE_INVALID_PARAMETER_VALUE) => Ok(Status::Aborted),
        Err(error) => Err(error),
        Ok(rows) => {
            let status = rows.into_iter().flatten().next().flatten();
            Ok(Status::from_name(status.as_deref()))
        }
    }
}

/// The local transaction that a user has prepared under this name in this database.
pub fn user_prepared(name: &str) -> Result<Option<u32>> {
    let select =
        "SELECT p.transaction::pg_catalog.text::pg_catalog.int8 FROM pg_catalog.pg_prepared_xacts p
                   WHERE p.gid = $1 AND p.database = pg_catalog.current_database()";
    let id = sql::one::<i64>(select, &[name.into()])?;
    Ok(id.and_then(|id| u32::try_from(id).ok()))
}

/// Finishes the parts on nodes after COMMIT PREPARED or ROLLBACK PREPARED of a local transaction. Never fails: what
/// cannot be done now is left to the recovery worker.
pub fn finish_user_prepared(id: u32) {
    worker_slots::note(local::database_id(), Work::Pending);
    let warn = |error: Error| {
        let hint =
            "The recovery worker will finish the transaction when the node is available again.";
        notify(PgLogLevel::WARNING, &error.hint(hint));
    };
    match recover(FOLLOW_TIME, Instant::now() + FOLLOW_TIME, Some(id)) {
        Ok(recovered) => recovered.failed.into_iter().for_each(|(_, _, error)| warn(error)),
        Err(error) => warn(error),
    }
}
