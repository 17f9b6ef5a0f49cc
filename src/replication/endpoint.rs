//! A server at one end of a migration: how to connect to it, its name, and the differences between the kinds of
//! servers.
//!
//! Everything that depends on whether a server is this one, a node or a foreign server matches on [`Endpoint`].

use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::pg::catalog::privileges;
use crate::pg::session::sql;
use crate::remote::{Session, Target};
use crate::replication::pull::Address;
use crate::replication::{connection_settings, foreign_server};
use crate::transaction::{self, Mode};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::rc::Rc;

/// A server that has one of the two copies of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// This server, the coordinator. The local transaction can access its tables; those of an inactive copy are shells.
    Local,
    /// Another node of the cluster, which takes part in distributed transactions.
    Node(NodeId),
    /// A server outside of the cluster, without Helios. It takes part in no transaction of the cluster, and its role need
    /// not be a superuser. The number is its row in `helios.foreign_server`.
    Foreign(NodeId),
}

impl Endpoint {
    /// The endpoint for an ID in `helios.migration`.
    pub fn of(id: NodeId) -> Self {
        match id {
            NodeId::LOCAL => Self::Local,
            id if id.is_outside() => Self::Foreign(id),
            id => Self::Node(id),
        }
    }

    /// Its ID in `helios.migration`.
    pub fn id(self) -> NodeId {
        match self {
            Self::Local => NodeId::LOCAL,
            Self::Node(id) | Self::Foreign(id) => id,
        }
    }

    /// Whether it is a server outside of the cluster.
    pub fn is_foreign(self) -> bool {
        matches!(self, Self::Foreign(_))
    }

    /// Its name, for messages.
    pub fn name(self) -> Result<String> {
        match self {
            Self::Foreign(id) => Ok(catalog::foreign_server::load(id)?.name()),
            Self::Local | Self::Node(_) => Ok(catalog::node(self.id())?.name.clone()),
        }
    }

    /// The role that migrations connect to it as.
    fn role(self) -> Result<String> {
        match self {
            Self::Foreign(id) => Ok(catalog::foreign_server::load(id)?.role),
            Self::Local | Self::Node(_) => role(),
        }
    }

    /// The password file that libpq reads for it.
    fn passfile(self) -> Result<Option<String>> {
        match self {
            Self::Foreign(id) => {
                Ok(catalog::foreign_server::load(id)?.passfile().map(str::to_owned))
            }
            Self::Local | Self::Node(_) => Ok(None),
        }
    }

    /// Its address, and the settings for sessions of migrations.
    pub fn target(self) -> Result<Target> {
        match self {
            Self::Foreign(id) => {
                let mut target = catalog::foreign_server::load(id)?.target()?;
                target.parameters = connection_settings::unprivileged();
                target.parameters.push((foreign_server::TOKEN, catalog::proof::of_import(id)?));
                Ok(target)
            }
            Self::Local | Self::Node(_) => {
                let node = catalog::node(self.id())?;
                transaction::refuse_silent(&node)?;
                let mut target = transaction::target(&node, &role()?)?;
                target.parameters = connection_settings::all();
                Ok(target)
            }
        }
    }

    /// libpq keywords and values for connecting to it.
    pub fn libpq_parameters(self) -> Result<Vec<(&'static str, String)>> {
        let mut parameters = self.target()?.libpq(&self.role()?);
        parameters.extend(self.passfile()?.map(|passfile| ("passfile", passfile)));
        Ok(parameters)
    }

    /// Connection string with which another server's libpq connects to it. Certificate paths refer to files on the
    /// connecting server.
    pub fn conninfo(self) -> Result<String> {
        let quoted = |value: &str| value.replace('\\', "\\\\").replace('\'', "\\'");
        let parameters = self.libpq_parameters()?;
        let parts: Vec<String> =
            parameters.iter().map(|(word, value)| format!("{word}='{}'", quoted(value))).collect();
        Ok(parts.join(" "))
    }

    /// The address with which `helios.pull_rows` on another server connects to it.
    pub fn address(self) -> Result<Address> {
        Ok(Address::of(&self.target()?, &self.role()?, self.passfile()?))
    }

    /// Opens a session to it. Must be called in a transaction.
    pub fn session(self) -> Result<Session> {
        let connected = Session::connect(&Rc::new(self.target()?), &self.role()?);
        match self {
            Self::Foreign(_) => connected.map_err(foreign_server::unreachable),
            Self::Local | Self::Node(_) => connected,
        }
    }

    /// Opens a session that speaks the replication protocol.
    pub fn replication_session(self) -> Result<Session> {
        let mut target = self.target()?;
        target.parameters.push(("replication", "database".into()));
        Session::connect(&Rc::new(target), &self.role()?)
    }

    /// Runs a statement there as part of the local transaction.
    pub fn execute(self, statement: &str) -> Result<()> {
        match self {
            Self::Local => sql::run(statement, &[]),
            Self::Node(id) => {
                transaction::execute(id, statement.as_bytes(), Mode::Transaction, true).map(|_| ())
            }
            Self::Foreign(_) => Err(Error::new(
                Code::ERRCODE_INTERNAL_ERROR,
                "foreign server cannot participate in a transaction of the cluster",
            )),
        }
    }
}

/// The role that migrations work as on every node: the owner of the catalogs.
pub fn role() -> Result<String> {
    Ok(privileges::role_name(catalog::catalogs_owner()?))
}
