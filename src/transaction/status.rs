//! What became of a transaction, asked by its name; and the end of transactions that users prepared.

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

/// How long the nodes may take to follow COMMIT PREPARED or ROLLBACK PREPARED before that is left to the worker.
const FOLLOW_TIME: Duration = Duration::from_secs(10);

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is committed: on its nodes, too, or about to be.
    Committed,
    /// It is rolled back, or about to be.
    Aborted,
    /// It has not ended.
    InProgress,
    /// It ended so long ago that nobody remembers.
    Unknown,
}

impl Status {
    /// As `pg_xact_status()` calls it.
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

/// What became of a transaction of this database. 22023 for what is no name of one; 08001 when the one node that knows
/// cannot be asked.
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
    // A crash came before anything of it was durable, and its id may be another's by now.
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
        // An id that the node has not given yet: it has lost it in a crash or a failover, so it did not commit.
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

/// COMMIT PREPARED or ROLLBACK PREPARED has ended a local transaction: its parts on nodes follow. Never fails: what
/// cannot be done now is the recovery worker's business.
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
