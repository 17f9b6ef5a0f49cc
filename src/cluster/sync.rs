//! Creates what a new node requires before it accepts data: roles, extensions, plain schemas, and the types, functions
//! and other objects in them. Tables of plain schemas stay on the coordinator.
//!
//! Every step is idempotent: existing objects are left alone.

use crate::catalog::{self, Node, NodeId};
use crate::cluster::roles;
use crate::ddl::object_location::{self, Location};
use crate::error::Result;
use crate::migration::code::Code as TenantCode;
use crate::migration::dump::Definitions;
use crate::pg::catalog::object::Object;
use crate::pg::catalog::privileges;
use crate::pg::session::{self, sql};
use crate::remote::{Session, pg_dump};
use crate::transaction;
use helios_core::archive::Entry;
use std::collections::{HashMap, HashSet};

/// Copies shared objects to the node.
pub fn bring_up_to_date(node: &Node, session: &mut Session) -> Result<()> {
    roles::bring_all(node, session)?;
    copy_definitions(node, session)
}

/// Dumps all shared objects of this server as the caller.
fn dump() -> Result<Vec<Entry>> {
    let user = privileges::session_user();
    let mut target = transaction::target(&*catalog::node(NodeId::LOCAL)?, &user)?;
    let host = session::socket_directory().unwrap_or_else(|| "localhost".into());
    target.addresses = vec![(host, u16::try_from(session::port()).unwrap_or_default())];
    target.database = session::database();
    let options = ["--section=pre-data", "--exclude-table=*.*"].map(str::to_owned);
    pg_dump::entries(&target, &target.libpq(&user), &options)
}

fn copy_definitions(node: &Node, session: &mut Session) -> Result<()> {
    let entries = choose(dump()?, &identities_there(session)?)?;
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

const IDENTITIES: &str = "SELECT c.classid, c.objid, i.type || ' ' || i.identity AS identity FROM (
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
    rows.iter().map(|row| row.text("identity")).collect()
}

fn identities_here() -> Result<HashMap<Object, String>> {
    let rows = sql::rows(IDENTITIES, &[], |row| {
        let object = Object { class: row.value("classid")?, id: row.value("objid")? };
        Ok((object, row.value("identity")?))
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
