//! Creates what a new node requires before it accepts data: roles, extensions, plain schemas, and the types, functions
//! and other objects in them. Tables of plain schemas stay on the coordinator.
//!
//! Every step is idempotent: existing objects are left alone.

use crate::catalog::{self, Node, NodeId};
use crate::cluster::process::{self, Scratch, Server};
use crate::cluster::roles;
use crate::ddl::object_location::{self, Location};
use crate::error::{Error, Result};
use crate::migration::code::Code as TenantCode;
use crate::migration::dump::Definitions;
use crate::pg::catalog::object::Object;
use crate::pg::catalog::privileges;
use crate::pg::session::{self, sql};
use crate::remote::Session;
use crate::transaction;
use helios_core::archive::{self, Entry};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::collections::{HashMap, HashSet};

/// Copies shared objects to the node.
pub fn bring_up_to_date(node: &Node, session: &mut Session) -> Result<()> {
    roles::bring_all(node, session)?;
    let scratch = Scratch::new()?;
    copy_definitions(node, &scratch, session)
}

/// Dumps all shared objects of this server as the caller.
fn dump(scratch: &Scratch) -> Result<Vec<u8>> {
    let here = catalog::node(NodeId::LOCAL)?;
    let user = privileges::session_user();
    let target = transaction::target(&here, &user)?;
    let mut environment = Vec::new();
    let options = [
        ("sslmode", "PGSSLMODE"),
        ("sslrootcert", "PGSSLROOTCERT"),
        ("sslcert", "PGSSLCERT"),
        ("sslkey", "PGSSLKEY"),
    ];
    for (option, variable) in options {
        if let Some(value) = here.options.get(option) {
            environment.push((variable, value.clone()));
        }
    }
    if let Some(password) = target.password {
        environment.push(("PGPASSWORD", password));
    }
    if let Some(passfile) = target.passfile {
        environment.push(("PGPASSFILE", passfile.to_string_lossy().into_owned()));
    }
    let server = Server {
        host: &session::socket_directory().unwrap_or_else(|| "localhost".into()),
        port: &session::port().to_string(),
        database: &session::database(),
        user: &user,
        environment,
    };
    let file = scratch.file("dump");
    let arguments =
        ["--format=custom", "--section=pre-data", "--exclude-table=*.*", "--encoding=UTF8"];
    process::run("pg_dump", &server, &arguments, &file, scratch)?;
    std::fs::read(&file).map_err(|error| {
        let message = format!("could not read the definitions on this server: {error}");
        Error::new(Code::ERRCODE_IO_ERROR, message)
    })
}

fn copy_definitions(node: &Node, scratch: &Scratch, session: &mut Session) -> Result<()> {
    let entries = archive::entries(&dump(scratch)?).map_err(|error| {
        let message = "could not read the output of pg_dump";
        Error::new(Code::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION, message).detail(error.to_string())
    })?;
    let entries = choose(entries, &identities_there(session)?)?;
    let definitions = Definitions::of(entries, true);
    if definitions.entries.is_empty() {
        return Ok(());
    }
    // A former node of this cluster that could not be released accepts DDL from migrations only.
    let settings = "SET helios.migration_session = on;\n";
    let code = TenantCode::here(&[])?;
    let script = definitions.script(&privileges::session_user(), &code, settings);
    let text = format!("BEGIN;\n{script};\nCOMMIT; RESET ALL");
    session.query(&text).map(drop).map_err(|error| {
        let node = &node.name;
        error.hint(format!(
            "Create the definitions that node \"{node}\" needs by hand, or drop them on the coordinator."
        ))
    })
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

/// What to do with an entry of the dump.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Restore,
    /// The object exists on the node; comments and privileges are still copied.
    Has,
    Leave,
}

/// Selects the entries to be executed on the node: missing shared objects, comments and privileges of shared objects,
/// and the settings needed to read the text.
fn choose(entries: Vec<Entry>, there: &HashSet<String>) -> Result<Vec<Entry>> {
    let here = identities_here()?;
    let mut choices: HashMap<i64, Choice> = HashMap::new();
    let mut wanted = Vec::new();
    for entry in entries {
        if entry.is_setting() {
            wanted.push(entry);
            continue;
        }
        let object = Object { class: entry.class.into(), id: entry.object.into() };
        let choice = if entry.class == 0 {
            let is_wanted =
                |id: &i64| matches!(choices.get(id), Some(Choice::Restore | Choice::Has));
            let all = !entry.depends.is_empty() && entry.depends.iter().all(is_wanted);
            if all { Choice::Restore } else { Choice::Leave }
        } else {
            match object_location::of(object)? {
                Some(Location::EveryNode) => match here.get(&object) {
                    Some(identity) if there.contains(identity) => Choice::Has,
                    _ => Choice::Restore,
                },
                _ => Choice::Leave,
            }
        };
        choices.insert(entry.id, choice);
        if choice == Choice::Restore {
            wanted.push(entry);
        }
    }
    Ok(wanted)
}
