//! Definitions of schemas, object by object, from pg_dump.
//!
//! They are read from the table of contents of pg_dump's own archive format, so that nothing that a user can write
//! (names, comments, function bodies) can be mistaken for the border between two objects.

use super::code::Code as TenantCode;
use super::column_order;
use super::schemaless;
use crate::catalog::NodeId;
use crate::error::{Error, Result};
use crate::pg::ipc::wait;
use crate::pg::session;
use crate::remote::Target;
use crate::replication::endpoint::Endpoint;
use crate::replication::endpoints::{identifier, literal};
use helios_core::archive::{self, Entry};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Sections of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Everything needed before rows are copied.
    PreData,
    /// Indexes, constraints, triggers, and everything else that is created after rows are copied.
    PostData,
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

/// Dumps the schemas of a node.
///
/// 58000 if pg_dump cannot be run, 38000 with its error output if it fails.
pub fn definitions(
    node: NodeId,
    schemas: &[String],
    section: Section,
    snapshot: Option<&str>,
) -> Result<Definitions> {
    let mut command =
        command(&Endpoint::of(node).target()?, Endpoint::of(node).libpq_parameters()?);
    command.args(["--format=custom", "--compress=0", "--schema-only", "--encoding=UTF8"]);
    command.args(["--no-publications", "--no-subscriptions"]);
    command.arg(match section {
        Section::PreData => "--section=pre-data",
        Section::PostData => "--section=post-data",
    });
    if let Some(snapshot) = snapshot {
        command.arg(format!("--snapshot={snapshot}"));
    }
    for schema in schemas {
        command.arg(format!("--schema={}", pattern(schema)));
    }
    let entries = archive::entries(&run(command)?).map_err(|error| {
        Error::new(Code::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION, "could not read the output of pg_dump")
            .detail(error.to_string())
            .hint("Migrations require the pg_dump of the server's own installation.")
    })?;
    // The archive contains database properties, which are not restored into another database.
    let entries = archive::divide(entries, |entry| entry.kind == "DATABASE").0;
    let mut definitions = Definitions::of(entries, !Endpoint::of(node).is_foreign());
    let entries = &mut definitions.entries;
    if section == Section::PreData {
        let mut source = Endpoint::of(node).session()?;
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

fn command(target: &Target, words: Vec<(&'static str, String)>) -> Command {
    let mut command = Command::new(session::program("pg_dump"));
    command.env_clear().env("PGAPPNAME", "helios").env("LC_ALL", "C");
    command.env("PGCONNECT_TIMEOUT", target.connect_timeout.as_secs().max(2).to_string());
    for (word, value) in words {
        let name = if word == "dbname" { "database" } else { word };
        command.env(format!("PG{}", name.replace('_', "").to_uppercase()), value);
    }
    if let Some(passfile) = &target.passfile {
        command.env("PGPASSFILE", passfile);
    }
    command
}

/// Kills the process when the wait for it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // The process has exited, or its output is not wanted anymore; an error does not matter either way.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(mut command: Command) -> Result<Vec<u8>> {
    let failed = |what: &str, error: std::io::Error| {
        Error::new(Code::ERRCODE_SYSTEM_ERROR, format!("could not {what} pg_dump: {error}"))
            .hint("Migrations require the pg_dump of the server's own installation.")
    };
    let prepare = |error| failed("create a temporary file for", error);
    let (mut output, mut errors) =
        (tempfile::tempfile().map_err(prepare)?, tempfile::tempfile().map_err(prepare)?);
    let stdio = |file: &File| file.try_clone().map(Stdio::from).map_err(prepare);
    command.stdin(Stdio::null()).stdout(stdio(&output)?).stderr(stdio(&errors)?);
    let mut child = Running(command.spawn().map_err(|error| failed("start", error))?);
    let status = loop {
        match child.0.try_wait().map_err(|error| failed("wait for", error))? {
            Some(status) => break status,
            None => wait::for_any(&[], Duration::from_millis(10)),
        }
    };
    if !status.success() {
        let said = contents(&mut errors).map_err(|error| failed("read the output of", error))?;
        return Err(Error::new(Code::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION, "pg_dump failed")
            .detail(String::from_utf8_lossy(&said).trim().to_owned()));
    }
    contents(&mut output).map_err(|error| failed("read the output of", error))
}

fn contents(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_one_name() {
        assert_eq!(pattern("Odd.*\"Name"), "\"Odd.*\"\"Name\"");
    }
}
