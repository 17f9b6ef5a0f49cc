//! Address of a foreign server: from the connection string to its row, and from there to a session.

use crate::catalog;
pub use crate::catalog::foreign_server::ForeignServer as Server;
use crate::error::{Error, Result};
use crate::remote::{SslMode, Target, Tcp};
use crate::{settings, transaction};
use helios_core::conninfo;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Connection string keywords that are passed on unchanged.
const OPTIONS: [&str; 6] =
    ["connect_timeout", "passfile", "sslcert", "sslkey", "sslmode", "sslrootcert"];

/// Setting by which a session of Helios identifies itself on a foreign server. Anybody can set it there, but only the
/// cluster's sessions know the value ([`crate::catalog::proof::of_import`]); the triggers there compare its digest.
pub const TOKEN: &str = "helios_import.token";

/// Name of the schema for a migration's own objects, on the foreign server and on the target.
pub fn own_schema(migration: i64) -> Result<String> {
    Ok(format!("helios_import_{}_{migration}", catalog::cluster_id()?))
}

fn invalid(message: impl Into<Vec<u8>>) -> Error {
    Error::new(Code::ERRCODE_INVALID_PARAMETER_VALUE, message)
        .hint("Use a libpq connection string, such as host=10.0.0.9 port=5432 dbname=shop user=postgres, or \
            postgresql://postgres@10.0.0.9/shop.")
}

impl Server {
    /// Parses a libpq connection string. Errors do not repeat any part of it, because it may contain a password.
    ///
    /// 22023 if it is invalid, or lacks the server or the role.
    pub fn parse(connection: &str) -> Result<Self> {
        let pairs = conninfo::parse(connection)
            .map_err(|error| invalid(format!("invalid connection string: {error}")))?;
        let mut words: BTreeMap<String, String> = pairs.into_iter().collect();
        let mut take = |word: &str| words.remove(word).filter(|value| !value.is_empty());
        let needed =
            |word: &str| invalid(format!("missing parameter \"{word}\" in connection string"));
        let hosts = take("hostaddr").or(take("host")).ok_or_else(|| needed("host"))?;
        let hosts: Vec<String> = hosts.split(',').map(str::to_owned).collect();
        let role = take("user").ok_or_else(|| needed("user"))?;
        let ports = ports(&take("port").unwrap_or_default(), hosts.len())?;
        let database = take("dbname").unwrap_or_else(|| role.clone());
        let password = take("password");
        // Helios sets these for each of its sessions, so they are ignored.
        for word in
            ["host", "application_name", "fallback_application_name", "target_session_attrs"]
        {
            take(word);
        }
        let options: BTreeMap<String, String> =
            OPTIONS.iter().filter_map(|word| Some(((*word).to_owned(), take(word)?))).collect();
        if words.values().any(|value| !value.is_empty()) {
            return Err(invalid("unrecognized parameter in connection string").detail(format!(
                "Valid parameters are host, hostaddr, port, dbname, user, password, {}.",
                OPTIONS.join(", ")
            )));
        }
        let server = Self { hosts, ports, database, role, password, options };
        server.target()?;
        Ok(server)
    }

    /// Converts it to the target of a session.
    pub fn target(&self) -> Result<Target> {
        let timeout = u64::try_from(settings::CONNECT_TIMEOUT.get()).unwrap_or(5000);
        let mut target = Target {
            id: None,
            name: self.name(),
            addresses: self.hosts.iter().cloned().zip(self.ports.iter().copied()).collect(),
            database: self.database.clone(),
            sslmode: SslMode::Prefer,
            sslrootcert: None,
            sslcert: None,
            sslkey: None,
            password: self.password.clone(),
            passfile: self.passfile().map(PathBuf::from).or_else(transaction::passfile),
            proof: None,
            connect_timeout: Duration::from_millis(timeout),
            tcp: Tcp::from_settings(),
            parameters: Vec::new(),
        };
        let mut options = self.options.clone();
        options.remove("passfile");
        target.set_options(&options)?;
        Ok(target)
    }

    /// The password file named by the connection string; it must exist on every server that connects.
    pub fn passfile(&self) -> Option<&str> {
        self.options.get("passfile").map(String::as_str)
    }

    /// For messages.
    pub fn name(&self) -> String {
        let first = self.hosts.first().zip(self.ports.first());
        let (host, port) = first.map_or(("", 0), |(host, port)| (host.as_str(), *port));
        format!("{host}:{port}/{}", self.database)
    }
}

fn ports(text: &str, hosts: usize) -> Result<Vec<u16>> {
    let port = |text: &str| match text.trim() {
        "" => Ok(5432),
        text => match text.parse::<u16>() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(invalid("invalid port in connection string")),
        },
    };
    let all = text.split(',').map(port).collect::<Result<Vec<_>>>()?;
    match all.len() {
        1 => Ok(vec![all[0]; hosts]),
        count if count == hosts => Ok(all),
        _ => {
            Err(invalid("number of ports in connection string does not match the number of hosts"))
        }
    }
}

/// Adds a hint for the user who supplied the connection string to a connection error.
pub fn unreachable(error: Error) -> Error {
    if !error.is_class("08") && !error.is_class("28") {
        return error;
    }
    let mut detail = error.to_string();
    if let Some(more) = &error.fields().detail {
        detail.push_str(&format!("\n{}", String::from_utf8_lossy(more)));
    }
    let code = Code::ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION;
    Error::new(code, "could not connect to the foreign server")
        .detail(detail)
        .hint("Check that the server is running, and check the connection string and the server's pg_hba.conf.")
}
