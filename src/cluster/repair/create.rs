//! Creates objects missing on the coordinator from the node's pg_dump output.
//!
//! Objects whose creation runs tenants' code (see [`crate::migration::code`]) are created in a restricted session as
//! the object's owner, who needs the privileges to do so.

use super::differences::Subject;
use super::lines::pairs;
use crate::error::{Error, Result};
use crate::migration::code::Code as TenantCode;
use crate::migration::dump::{self, Definitions, Section};
use crate::migration::requirements;
use crate::pg::catalog::privileges::RunAs;
use crate::pg::session::own_settings::OwnSettings;
use crate::pg::session::{acting, sql, subtransaction};
use crate::remote::{Record, Session, own_rows};
use crate::replication::endpoint;
use crate::replication::endpoints::{identifier, literal, text};
use helios_core::archive::Entry;
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode as Code};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Definitions on the node, dumped on first use.
#[derive(Default)]
pub struct Dump(Option<Vec<Definitions>>);

impl Dump {
    fn of<'a>(&'a mut self, subject: &Subject, node: &mut Session) -> Result<&'a [Definitions]> {
        if self.0.is_none() {
            let rows = node.query("SELECT pg_export_snapshot()")?;
            let snapshot = rows.first().map(|row| text(row, 0));
            let schemas = [subject.schema.clone()];
            let dump = |section| {
                dump::definitions(subject.place.node, &schemas, section, snapshot.as_deref())
            };
            self.0 = Some(vec![dump(Section::PreData)?, dump(Section::PostData)?]);
        }
        Ok(self.0.as_deref().unwrap_or_default())
    }
}

/// Creates the missing objects.
pub fn missing(subject: &Subject, node: &mut Session, dump: &mut Dump) -> Result<()> {
    let parts = dump.of(subject, node)?;
    let known = identities_here(&subject.schema)?;
    let entries: Vec<&Entry> = parts.iter().flat_map(|part| &part.entries).collect();
    let there = identities_there(&entries, node)?;
    let fresh = fresh(&entries, &there, &known);
    let code = TenantCode::of(node, std::slice::from_ref(&subject.schema))?;
    let own = endpoint::role()?;
    for part in parts {
        let settings = [(c"check_function_bodies", c"off")];
        let _own = OwnSettings::begin(&settings);
        sql::run(part.settings(), &[])?;
        for entry in part.entries.iter().filter(|entry| fresh.contains(&entry.id)) {
            let runs_code = part.runs_code(entry, &own, &code);
            make(subject, entry, &part.alone(entry, runs_code, &code), runs_code)?;
        }
    }
    Ok(())
}

/// Identities of all objects of the schema on the coordinator.
fn identities_here(schema: &str) -> Result<HashSet<String>> {
    let query = format!(
        "{} SELECT i.type || ' ' || i.identity AS identity FROM object o CROSS JOIN LATERAL pg_identify_object(o.class, o.oid, 0) AS i",
        requirements::objects(&[schema.to_owned()])
    );
    own_rows(&query)?.iter().map(|row| row.text("identity")).collect()
}

/// Identities of the dump's entries, by class and OID on the node.
fn identities_there(entries: &[&Entry], node: &mut Session) -> Result<HashMap<(u32, u32), String>> {
    let ids: Vec<_> =
        entries.iter().filter(|entry| entry.class != 0).map(|e| (e.class, e.object)).collect();
    let query = format!(
        "SELECT o.class, o.id, i.type || ' ' || i.identity AS identity
           FROM (VALUES {}) AS o(class, id) CROSS JOIN LATERAL pg_identify_object(o.class, o.id, 0) AS i",
        pairs(&ids)
    );
    let read = |row: &Record| {
        let number = |column| Ok::<_, Error>(row.parsed(column)?.unwrap_or(0));
        Ok(((number("class")?, number("id")?), row.text("identity")?))
    };
    node.query(&query)?.iter().map(read).collect()
}

/// Entries to execute: objects missing on the coordinator and subsidiary entries that belong to them. Privileges are
/// compared later.
fn fresh(
    entries: &[&Entry],
    there: &HashMap<(u32, u32), String>,
    known: &HashSet<String>,
) -> BTreeSet<i64> {
    let mut fresh = BTreeSet::new();
    let is_wanted = |entry: &&&Entry| entry.kind != "ACL" && entry.kind != "DEFAULT ACL";
    for entry in entries.iter().filter(|entry| entry.class != 0).filter(is_wanted) {
        let identity = there.get(&(entry.class, entry.object));
        let is_own = |identity: &&String| identity.starts_with("trigger helios_");
        if identity.is_some_and(|identity| !known.contains(identity) && !is_own(&identity)) {
            fresh.insert(entry.id);
        }
    }
    for entry in entries.iter().filter(|entry| entry.class == 0).filter(is_wanted) {
        let is_shell_type = entry.kind == "SHELL TYPE"
            && entries.iter().any(|e| e.depends.contains(&entry.id) && fresh.contains(&e.id));
        let belongs = entry.depends.iter().any(|id| fresh.contains(id));
        if belongs || is_shell_type {
            fresh.insert(entry.id);
        }
    }
    fresh
}

/// Executes one entry.
///
/// Errors: 55000 if its owner would have to create it but lacks the privilege.
fn make(subject: &Subject, entry: &Entry, statements: &str, runs_code: bool) -> Result<()> {
    let owner = if runs_code { Some(owner_who_may(entry, &subject.schema)?) } else { None };
    let run = || {
        let _as_owner = owner.map(RunAs::restricted);
        sql::run(statements, &[])
    };
    subtransaction::attempt(run).map_err(|error| {
        let object = format!("{} {}", entry.kind.to_lowercase(), entry.name);
        error.context(format!(
            "while creating {object} from its definition on node \"{}\"",
            subject.node
        ))
    })
}

/// Whether a role may create objects in a schema.
pub(super) fn may_create(role: &str, schema: &str) -> Result<bool> {
    let may = format!(
        "SELECT pg_catalog.has_schema_privilege({0}, {1}, 'CREATE') AND pg_catalog.has_schema_privilege({0}, {1}, 'USAGE')",
        literal(role),
        literal(schema)
    );
    Ok(sql::one::<bool>(&may, &[])? == Some(true))
}

fn owner_who_may(entry: &Entry, schema: &str) -> Result<Oid> {
    if may_create(&entry.owner, schema)? {
        return acting::role_named(&entry.owner);
    }
    let message = format!(
        "cannot repair schema \"{schema}\" because role \"{}\" lacks permission to create {} {}",
        entry.owner,
        entry.kind.to_lowercase(),
        entry.name
    );
    Err(Error::new(Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message)
        .detail("Its definition runs code, so it is created with the privileges of its owner.")
        .hint(format!(
            "GRANT CREATE, USAGE ON SCHEMA {} TO {}",
            identifier(schema),
            identifier(&entry.owner)
        )))
}
