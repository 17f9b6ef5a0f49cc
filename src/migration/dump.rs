//! Definitions of schemas, object by object, from pg_dump.
//!
//! They are read from the table of contents of pg_dump's own archive format, so that nothing that a user can write
//! (names, comments, function bodies) can be mistaken for the border between two objects.

use super::code::Code as TenantCode;
use super::column_order;
use super::schemaless;
use crate::catalog::NodeId;
use crate::error::Result;
use crate::remote::pg_dump;
use crate::replication::endpoint::Endpoint;
use crate::replication::endpoints::{identifier, literal};
use helios_core::archive::{self, Entry};

/// Sections of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Everything needed before rows are copied.
    PreData,
    /// Indexes, constraints, triggers, and everything else that is created after rows are copied.
    PostData,
}

impl Section {
    /// pg_dump's option that selects the section.
    fn option(self) -> &'static str {
        match self {
            Self::PreData => "--section=pre-data",
            Self::PostData => "--section=post-data",
        }
    }
}

/// Definitions of the objects of schemas: one entry for each object, comment, privilege and label.
#[derive(Clone, Debug)]
pub struct Definitions {
    pub entries: Vec<Entry>,
    /// The settings with which the entries must be read.
    settings: String,
    with_tablespaces: bool,
}

/// Statements that run with the privileges of one role.
pub struct Group {
    /// The role; None for the role that creates the definitions.
    pub owner: Option<String>,
    pub statements: String,
}

/// Current settings for the next objects.
#[derive(Default)]
struct Place<'a> {
    tablespace: Option<&'a str>,
    method: Option<&'a str>,
}

impl Definitions {
    /// Splits them into the remaining entries and the chosen ones with all entries that depend on them.
    pub fn divide(self, chosen: impl Fn(&Entry) -> bool) -> (Self, Self) {
        let Self { entries, settings, with_tablespaces } = self;
        let (rest, taken) = archive::divide(entries, chosen);
        let of = |entries| Self { entries, settings: settings.clone(), with_tablespaces };
        (of(rest), of(taken))
    }

    /// Splits them into foreign keys and all others.
    pub fn split_foreign_keys(self) -> (Self, Self) {
        self.divide(|entry| entry.kind == "FK CONSTRAINT")
    }

    /// The statements that set how the entries must be read.
    pub fn settings(&self) -> &str {
        &self.settings
    }

    /// Creates definitions from entries, which include the settings needed to read the others.
    pub fn of(entries: Vec<Entry>, with_tablespaces: bool) -> Self {
        let (settings, entries): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(Entry::is_setting);
        let settings = settings.into_iter().map(|entry| entry.definition).collect();
        Self { entries, settings, with_tablespaces }
    }

    /// The statements that create the objects in one transaction of a session of `own`, as one text. Those that run
    /// code use the privileges of the objects' owners. `session` contains the session's own settings as statements,
    /// because resetting what an owner's code has set resets them as well.
    pub fn script(&self, own: &str, code: &TenantCode, session: &str) -> String {
        let head = self.head("0");
        let mut script = format!("{session}{head}");
        for Group { owner, statements } in self.groups(own, code) {
            match owner {
                None => script.push_str(&statements),
                Some(owner) => script.push_str(&format!(
                    "SAVEPOINT helios_owner; SELECT helios.run_as({});\n{head}{statements};RELEASE SAVEPOINT helios_owner; RESET ALL;\n{session}{head}",
                    literal(&owner)
                )),
            }
        }
        script
    }

    /// Whether creating this entry runs code, so that its owner and not `own` must create it.
    pub fn runs_code(&self, entry: &Entry, own: &str, code: &TenantCode) -> bool {
        !entry.owner.is_empty() && entry.owner != own && code.runs_in(entry, &self.entries)
    }

    /// The statements of one entry, independent of the session's settings; without an owner clause if the owner creates
    /// it himself.
    pub fn alone(&self, entry: &Entry, by_owner: bool, code: &TenantCode) -> String {
        let (mut all, place) = (String::new(), &mut Place::default());
        self.place(entry, place, &mut all);
        all.push_str(&statements(entry, !by_owner, code));
        all
    }

    /// The settings to be made before the entries' statements.
    pub fn head(&self, lock_timeout: &str) -> String {
        format!(
            "SET statement_timeout = 0;
             SET lock_timeout = {};
             SET idle_in_transaction_session_timeout = 0;
             SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout';
             {}
             SET check_function_bodies = false;
             SET xmloption = content;
             SET client_min_messages = warning;
             SET row_security = off;\n",
            literal(lock_timeout),
            self.settings
        )
    }

    /// What pg_restore would run for each entry (its placement, definition and owner), in order; entries of one owner
    /// that run code are grouped. `own` is the role that creates the others.
    pub fn groups(&self, own: &str, code: &TenantCode) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut place = Place::default();
        for entry in &self.entries {
            let runs_code = self.runs_code(entry, own, code);
            let owner = runs_code.then_some(entry.owner.as_str());
            let is_same = groups.last().is_some_and(|last| last.owner.as_deref() == owner);
            if !is_same {
                // The code may have changed any setting.
                place = Place::default();
                let owner = owner.map(str::to_owned);
                groups.push(Group { owner, statements: String::new() });
            }
            if let Some(last) = groups.last_mut() {
                self.place(entry, &mut place, &mut last.statements);
                last.statements.push_str(&statements(entry, !runs_code, code));
            }
        }
        groups
    }

    /// Sets the tablespace and access method of the entry's object unless they are set already.
    fn place<'a>(&self, entry: &'a Entry, place: &mut Place<'a>, all: &mut String) {
        if let Some(name) = entry.tablespace.as_deref().filter(|_| self.with_tablespaces)
            && place.tablespace != Some(name)
        {
            place.tablespace = Some(name);
            let name = if name.is_empty() { literal("") } else { identifier(name) };
            all.push_str(&format!("SET default_tablespace = {name};\n"));
        }
        if let Some(name) = entry.access_method.as_deref().filter(|_| !entry.is_partitioned)
            && place.method != Some(name)
        {
            place.method = Some(name);
            all.push_str(&format!("SET default_table_access_method = {};\n", identifier(name)));
        }
    }

    /// Adds the objects to a digest, without their IDs in this dump.
    pub fn digest(&self, context: &mut ring::digest::Context) {
        for entry in &self.entries {
            let schema = entry.schema.as_deref().unwrap_or_default();
            let tablespace = entry.tablespace.as_deref().unwrap_or_default();
            let method = entry.access_method.as_deref().unwrap_or_default();
            for text in [
                &entry.kind,
                &entry.name,
                &entry.owner,
                &entry.definition,
                schema,
                tablespace,
                method,
            ] {
                context.update(&text.len().to_le_bytes());
                context.update(text.as_bytes());
            }
        }
    }
}

/// Statements that create the object of an entry and set its owner.
fn statements(entry: &Entry, gives: bool, code: &TenantCode) -> String {
    let mut all = match code.unchecked_key(entry) {
        Some((table, name)) => unchecked(&entry.definition, table, name),
        None => format!("{}\n", entry.definition),
    };
    let Some(object) = entry.owned_object() else { return all };
    if let Some(name) = entry.access_method.as_deref().filter(|_| entry.is_partitioned)
        && !name.is_empty()
    {
        let name = identifier(name);
        all.push_str(&format!("ALTER {object} SET ACCESS METHOD {name};\n"));
    }
    if gives {
        let owner = identifier(&entry.owner);
        all.push_str(&format!("ALTER {object} OWNER TO {owner};\n"));
    }
    all
}

/// Makes a foreign key NOT VALID, then marks it as validated. It is valid where the rows come from, and nobody writes
/// here before they have been compared with those; validation would plan a query that contains code.
fn unchecked(definition: &str, table: &str, name: &str) -> String {
    let definition = definition.trim_end().trim_end_matches(';');
    let (table, name) = (literal(table), literal(name));
    format!(
        "{definition} NOT VALID;
         WITH RECURSIVE key AS (
             SELECT oid FROM pg_catalog.pg_constraint
              WHERE conrelid = {table}::pg_catalog.regclass AND conname = {name} AND contype = 'f'
             UNION ALL SELECT k.oid FROM pg_catalog.pg_constraint k JOIN key ON k.conparentid = key.oid)
         UPDATE pg_catalog.pg_constraint SET convalidated = true WHERE oid IN (SELECT oid FROM key);\n"
    )
}

/// Dumps the schemas of a node. Fails as [`pg_dump::entries`] does.
pub fn definitions(
    node: NodeId,
    schemas: &[String],
    section: Section,
    snapshot: Option<&str>,
) -> Result<Definitions> {
    let mut options = vec![
        "--schema-only".to_owned(),
        "--no-publications".to_owned(),
        "--no-subscriptions".to_owned(),
        section.option().to_owned(),
    ];
    options.extend(snapshot.map(|snapshot| format!("--snapshot={snapshot}")));
    options.extend(schemas.iter().map(|schema| format!("--schema={}", pattern(schema))));
    let endpoint = Endpoint::of(node);
    let entries = pg_dump::entries(&endpoint.target()?, &endpoint.libpq_parameters()?, &options)?;
    // The archive contains database properties, which are not restored into another database.
    let entries = archive::divide(entries, |entry| entry.kind == "DATABASE").0;
    let mut definitions = Definitions::of(entries, !endpoint.is_foreign());
    let entries = &mut definitions.entries;
    if section == Section::PreData {
        let mut source = endpoint.session()?;
        if let Some(snapshot) = snapshot {
            source.query("BEGIN ISOLATION LEVEL REPEATABLE READ")?;
            source.query(&format!("SET TRANSACTION SNAPSHOT {}", literal(snapshot)))?;
        }
        schemaless::add(entries, schemas, &mut source)?;
        column_order::keep(entries, schemas, &mut source)?;
    }
    Ok(definitions)
}

/// A psql pattern that matches a single name.
fn pattern(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_one_name() {
        assert_eq!(pattern("Odd.*\"Name"), "\"Odd.*\"\"Name\"");
    }
}
