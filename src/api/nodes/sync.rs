//! What a new node must have before it takes data: roles, extensions, plain schemas, and the types, functions and
//! so on in them. Tables stay where they are.
//!
//! Every step can be repeated: what the node has already is left as it is.

use super::process::{self, Scratch, Server};
use crate::ddl::home::{self, Home};
use crate::ddl::roles;
use crate::directory::{self, Node, NodeId};
use crate::error::{Error, Result};
use crate::pg::object::Object;
use crate::pg::{privileges, session, sql};
use crate::remote::Session;
use crate::transaction;
use helios_core::archive::{self, Entry};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::collections::{HashMap, HashSet};

/// Gives the node what tenants share.
pub fn bring_up_to_date(node: &Node, session: &mut Session) -> Result<()> {
    roles::bring_all(node, session)?;
    let scratch = Scratch::new()?;
    copy_definitions(node, &scratch, session)
}

/// How libpq reaches a server.
struct Reached {
    hosts: String,
    ports: String,
    database: String,
    user: String,
    environment: Vec<(&'static str, String)>,
}

impl Reached {
    fn server(&self) -> Server<'_> {
        Server {
            host: &self.hosts,
            port: &self.ports,
            database: &self.database,
            user: &self.user,
            environment: self.environment.clone(),
        }
    }

    fn here() -> Result<Self> {
        let node = directory::node(NodeId::LOCAL)?;
        let mut reached = Self::there(&node)?;
        reached.hosts = session::socket_directory().unwrap_or_else(|| "localhost".into());
        reached.ports = session::port().to_string();
        reached.database = session::database();
        Ok(reached)
    }

    /// As our own sessions reach it.
    fn there(node: &Node) -> Result<Self> {
        let user = privileges::session_user();
        let target = transaction::target(node, &user)?;
        let mut environment = vec![("PGTARGETSESSIONATTRS", "primary".to_owned())];
        let options = [
            ("sslmode", "PGSSLMODE"),
            ("sslrootcert", "PGSSLROOTCERT"),
            ("sslcert", "PGSSLCERT"),
            ("sslkey", "PGSSLKEY"),
        ];
        for (option, variable) in options {
            if let Some(value) = node.options.get(option) {
                environment.push((variable, value.clone()));
            }
        }
        if let Some(password) = target.password {
            environment.push(("PGPASSWORD", password));
        }
        if let Some(passfile) = target.passfile {
            environment.push(("PGPASSFILE", passfile.to_string_lossy().into_owned()));
        }
        let hosts: Vec<&str> = node.addresses.iter().map(|a| a.host.as_str()).collect();
        let ports: Vec<String> = node.addresses.iter().map(|a| a.port.to_string()).collect();
        let database = node.database.clone();
        Ok(Self { hosts: hosts.join(","), ports: ports.join(","), database, user, environment })
    }
}

fn copy_definitions(node: &Node, scratch: &Scratch, session: &mut Session) -> Result<()> {
    let here = Reached::here()?;
    let (dump, list) = (scratch.file("dump"), scratch.file("list"));
    let arguments = ["--format=custom", "--section=pre-data", "--exclude-table=*.*"];
    process::run("pg_dump", &here.server(), &arguments, &dump, scratch)?;
    let dump_path = dump.to_string_lossy();
    let contents = std::fs::read(&dump).map_err(|e| unreadable("definitions", &e))?;
    let entries = archive::entries(&contents).map_err(|error| {
        let message = "could not read what pg_dump has written";
        Error::new(Code::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION, message).detail(error.to_string())
    })?;
    let wanted = choose(&entries, &identities_there(session)?)?;
    if wanted.is_empty() {
        return Ok(());
    }
    std::fs::write(&list, wanted).map_err(|error| {
        let message = format!("could not write a list for pg_restore: {error}");
        Error::new(Code::ERRCODE_IO_ERROR, message)
    })?;
    let list_path = list.to_string_lossy();
    // A name with = in it would be taken for a connection string, so it is given in one.
    let quoted = node.database.replace('\\', "\\\\").replace('\'', "\\'");
    let connection = format!("dbname='{quoted}'");
    let output = scratch.file("output");
    let arguments = [
        "--exit-on-error",
        "--single-transaction",
        "--use-list",
        &list_path,
        "--dbname",
        &connection,
        &dump_path,
    ];
    let mut there = Reached::there(node)?;
    // One that was of this cluster before, and could not be told that it is free, takes definitions from nobody else.
    there
        .environment
        .push(("PGOPTIONS", "-c lc_messages=C -c helios.migration_session=on".to_owned()));
    process::run("pg_restore", &there.server(), &arguments, &output, scratch).map_err(|error| {
        let node = &node.name;
        error.hint(format!(
            "Make the definitions that node \"{node}\" needs by hand, or drop them here."
        ))
    })
}

fn unreadable(what: &str, error: &std::io::Error) -> Error {
    Error::new(Code::ERRCODE_IO_ERROR, format!("could not read the {what} of this server: {error}"))
}

const IDENTITIES: &str = "SELECT c.classid, c.objid, i.type || ' ' || i.identity FROM (
         SELECT 'pg_catalog.pg_namespace'::regclass, oid FROM pg_catalog.pg_namespace
         UNION ALL SELECT 'pg_catalog.pg_extension'::regclass, oid FROM pg_catalog.pg_extension
         UNION ALL SELECT 'pg_catalog.pg_type'::regclass, oid FROM pg_catalog.pg_type
         UNION ALL SELECT 'pg_catalog.pg_proc'::regclass, oid FROM pg_catalog.pg_proc
         UNION ALL SELECT 'pg_catalog.pg_operator'::regclass, oid FROM pg_catalog.pg_operator
         UNION ALL SELECT 'pg_catalog.pg_opclass'::regclass, oid FROM pg_catalog.pg_opclass
         UNION ALL SELECT 'pg_catalog.pg_opfamily'::regclass, oid FROM pg_catalog.pg_opfamily
         UNION ALL SELECT 'pg_catalog.pg_collation'::regclass, oid FROM pg_catalog.pg_collation
         UNION ALL SELECT 'pg_catalog.pg_conversion'::regclass, oid FROM pg_catalog.pg_conversion
         UNION ALL SELECT 'pg_catalog.pg_ts_parser'::regclass, oid FROM pg_catalog.pg_ts_parser
         UNION ALL SELECT 'pg_catalog.pg_ts_template'::regclass, oid FROM pg_catalog.pg_ts_template
         UNION ALL SELECT 'pg_catalog.pg_ts_dict'::regclass, oid FROM pg_catalog.pg_ts_dict
         UNION ALL SELECT 'pg_catalog.pg_ts_config'::regclass, oid FROM pg_catalog.pg_ts_config
         UNION ALL SELECT 'pg_catalog.pg_cast'::regclass, oid FROM pg_catalog.pg_cast
         UNION ALL SELECT 'pg_catalog.pg_language'::regclass, oid FROM pg_catalog.pg_language
         UNION ALL SELECT 'pg_catalog.pg_transform'::regclass, oid FROM pg_catalog.pg_transform
         UNION ALL SELECT 'pg_catalog.pg_am'::regclass, oid FROM pg_catalog.pg_am
         UNION ALL SELECT 'pg_catalog.pg_foreign_data_wrapper'::regclass, oid FROM pg_catalog.pg_foreign_data_wrapper
         UNION ALL SELECT 'pg_catalog.pg_foreign_server'::regclass, oid FROM pg_catalog.pg_foreign_server
         UNION ALL SELECT 'pg_catalog.pg_user_mapping'::regclass, oid FROM pg_catalog.pg_user_mapping
         UNION ALL SELECT 'pg_catalog.pg_default_acl'::regclass, oid FROM pg_catalog.pg_default_acl
       ) AS c(classid, objid), LATERAL pg_catalog.pg_identify_object(c.classid, c.objid, 0) AS i
 WHERE c.objid >= 16384 AND i.identity IS NOT NULL";

fn identities_there(session: &mut Session) -> Result<HashSet<String>> {
    let rows = session.query(IDENTITIES)?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().nth(2).flatten()).collect())
}

fn identities_here() -> Result<HashMap<Object, String>> {
    let rows = sql::rows(IDENTITIES, &[], |row| {
        let object = Object {
            class: row.get(1)?.unwrap_or(pgrx::pg_sys::InvalidOid),
            id: row.get(2)?.unwrap_or(pgrx::pg_sys::InvalidOid),
        };
        Ok((object, row.get::<String>(3)?.unwrap_or_default()))
    })?;
    Ok(rows.into_iter().collect())
}

/// What is done with an entry of the dump.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Restore,
    /// The node has it: comments and grants on it are still wanted.
    Has,
    Leave,
}

/// The numbers of the entries that the node is to get, as a list for pg_restore: objects that live everywhere and that it
/// does not have, and comments and grants on objects that live everywhere.
fn choose(entries: &[Entry], there: &HashSet<String>) -> Result<String> {
    let here = identities_here()?;
    let mut choices: HashMap<i64, Choice> = HashMap::new();
    let mut wanted = String::new();
    for entry in entries.iter().filter(|entry| !entry.is_setting()) {
        let object = Object { class: entry.class.into(), id: entry.object.into() };
        let choice = if entry.class == 0 {
            let is_wanted =
                |id: &i64| matches!(choices.get(id), Some(Choice::Restore | Choice::Has));
            let all = !entry.depends.is_empty() && entry.depends.iter().all(is_wanted);
            if all { Choice::Restore } else { Choice::Leave }
        } else {
            match home::of(object)? {
                Some(Home::Everywhere) => match here.get(&object) {
                    Some(identity) if there.contains(identity) => Choice::Has,
                    _ => Choice::Restore,
                },
                _ => Choice::Leave,
            }
        };
        choices.insert(entry.id, choice);
        if choice == Choice::Restore {
            wanted.push_str(&format!("{};\n", entry.id));
        }
    }
    Ok(wanted)
}
