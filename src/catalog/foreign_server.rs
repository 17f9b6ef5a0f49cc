//! Rows of `helios.foreign_server`: servers outside of the cluster from which schemas are imported.

use super::{NodeId, as_owner};
use crate::error::{Error, Result};
use crate::pg::session::sql::{self, Row};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::collections::BTreeMap;

/// A PostgreSQL server outside of the cluster, described by a connection string.
#[derive(Clone)]
pub struct ForeignServer {
    pub hosts: Vec<String>,
    pub ports: Vec<u16>,
    pub database: String,
    /// The role to connect as.
    pub role: String,
    pub password: Option<String>,
    pub options: BTreeMap<String, String>,
}

impl ForeignServer {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        let ports: Vec<i32> = row.value("ports")?;
        let options: Vec<String> = row.value("options")?;
        let split =
            |option: &String| option.split_once('=').map(|(w, v)| (w.to_owned(), v.to_owned()));
        Ok(Self {
            hosts: row.value("hosts")?,
            ports: ports.iter().filter_map(|port| u16::try_from(*port).ok()).collect(),
            database: row.value("database")?,
            role: row.value("role")?,
            password: row.option("password")?,
            options: options.iter().filter_map(split).collect(),
        })
    }

    /// Inserts it for a migration.
    pub fn insert(&self, id: NodeId, migration: i64) -> Result<()> {
        let insert = "INSERT INTO helios.foreign_server (id, migration, hosts, ports, database, role, password, options)
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let ports: Vec<i32> = self.ports.iter().map(|port| i32::from(*port)).collect();
        let options: Vec<String> =
            self.options.iter().map(|(word, value)| format!("{word}={value}")).collect();
        let arguments = [
            id.0.into(),
            migration.into(),
            self.hosts.clone().into(),
            ports.into(),
            self.database.as_str().into(),
            self.role.as_str().into(),
            self.password.as_deref().into(),
            options.into(),
        ];
        as_owner(|| sql::run(insert, &arguments))
    }
}

/// Assigns the ID of a new foreign server.
pub fn new_number() -> Result<NodeId> {
    let next = "SELECT (- nextval('helios.foreign_server_id'))::integer";
    let id = as_owner(|| sql::one::<i32>(next, &[]))?;
    id.map(NodeId).ok_or_else(|| {
        Error::new(Code::ERRCODE_INTERNAL_ERROR, "could not assign an ID to the foreign server")
    })
}

/// The foreign server with this ID; 42704 if it does not exist.
pub fn load(id: NodeId) -> Result<ForeignServer> {
    let select = "SELECT hosts, ports, database, role, password, options FROM helios.foreign_server WHERE id = $1";
    let rows = as_owner(|| sql::read_rows(select, &[id.0.into()], ForeignServer::from_row))?;
    rows.into_iter().next().ok_or_else(|| {
        Error::new(
            Code::ERRCODE_UNDEFINED_OBJECT,
            format!("foreign server {} does not exist", id.0),
        )
    })
}

/// Records a digest of the copied definition.
pub fn note_definition(id: NodeId, digest: &str) -> Result<()> {
    let update = "UPDATE helios.foreign_server SET definition = $2 WHERE id = $1";
    sql::run(update, &[id.0.into(), digest.into()])
}

/// The digest of the copied definition.
pub fn noted_definition(id: NodeId) -> Result<Option<String>> {
    let select = "SELECT definition FROM helios.foreign_server WHERE id = $1";
    as_owner(|| sql::read_one(select, &[id.0.into()]))
}

/// Deletes the password when the import has ended.
pub fn forget_password(id: NodeId) -> Result<()> {
    as_owner(|| {
        sql::run("UPDATE helios.foreign_server SET password = NULL WHERE id = $1", &[id.0.into()])
    })
}
