//! pg_dump: the definitions of schemas as text.

use super::ends;
use crate::directory::NodeId;
use crate::error::{Error, Result};
use crate::pg::{session, wait};
use crate::remote::Target;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What is dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Everything that rows need to be put in.
    PreData,
    /// Indexes, constraints, triggers, and what else comes behind the rows.
    PostData,
}

/// Statements that make the schemas of a node, without rows.
///
/// 58000 if pg_dump cannot be run, XX000 with what it says if it fails.
pub fn definitions(
    node: NodeId,
    schemas: &[String],
    section: Section,
    snapshot: Option<&str>,
) -> Result<String> {
    let mut command = command(&ends::target(node)?, ends::words(node)?);
    if node.is_outside() {
        command.arg("--no-tablespaces");
    }
    command.args(["--schema-only", "--no-publications", "--no-subscriptions", "--encoding=UTF8"]);
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
    run(command).map(|text| without_meta_commands(&text))
}

/// A pattern of psql that matches one name only.
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

/// Ends the process with the wait for it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended by itself, or nobody wants its answer: either way there is nothing to do about an error.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(mut command: Command) -> Result<String> {
    let failed = |what: &str, error: std::io::Error| {
        Error::new(Code::ERRCODE_SYSTEM_ERROR, format!("could not {what} pg_dump: {error}"))
            .hint("Migrations need the pg_dump that comes with the server.")
    };
    let prepare = |error| failed("make a temporary file for", error);
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
            .detail(said.trim().to_owned()));
    }
    contents(&mut output).map_err(|error| failed("read the output of", error))
}

fn contents(file: &mut File) -> std::io::Result<String> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// pg_dump brackets its statements with commands for psql that keep a hostile server from smuggling others in.
fn without_meta_commands(text: &str) -> String {
    let Some(start) = text.find("\n\\restrict ") else { return text.to_owned() };
    let rest = &text[start + 1..];
    let head = rest.find('\n').map_or(rest.len(), |end| end + 1);
    let body = &rest[head..];
    let end = body.rfind("\n\\unrestrict ").map_or(body.len(), |end| end + 1);
    format!("{}{}", &text[..=start], &body[..end])
}

/// Divides a dump of [`Section::PostData`]: everything else, and the foreign keys.
pub fn split_foreign_keys(text: &str) -> (String, String) {
    divide(text, |heading| heading.contains("; Type: FK CONSTRAINT; "))
}

/// Divides a dump: everything else, and what is chosen by the heading that pg_dump puts above each object, such as
/// `name; Type: TABLE; Schema: s; Owner: o`.
pub fn divide(text: &str, chosen: impl Fn(&str) -> bool) -> (String, String) {
    const HEADING: &str = "\n--\n-- Name: ";
    const FOOTER: &str = "\n--\n-- PostgreSQL database dump complete\n";
    let (text, footer) = text.split_at(text.rfind(FOOTER).unwrap_or(text.len()));
    let (mut rest, mut keys) = (String::new(), String::new());
    let mut from = 0;
    while from < text.len() {
        let next = text[from + 1..].find(HEADING).map_or(text.len(), |at| from + 1 + at);
        let part = &text[from..next];
        let heading = part.strip_prefix(HEADING).and_then(|part| part.lines().next());
        if heading.is_some_and(&chosen) { &mut keys } else { &mut rest }.push_str(part);
        from = next;
    }
    // The settings at the head of the dump are wanted for both.
    let head = rest.find(HEADING).unwrap_or(rest.len());
    keys.insert_str(0, &rest[..head]);
    rest.push_str(footer);
    (rest, keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_for_psql_are_left_out() {
        let dump = "--\n-- dump\n--\n\n\\restrict a1\n\nCREATE SCHEMA x;\nSELECT '\n\\restrict no\n';\n\n\\unrestrict a1\n\n";
        let plain = "--\n-- dump\n--\n\n\nCREATE SCHEMA x;\nSELECT '\n\\restrict no\n';\n\n";
        assert_eq!(without_meta_commands(dump), plain);
        assert_eq!(
            without_meta_commands(plain.replace('\\', "").as_str()),
            plain.replace('\\', "")
        );
    }

    #[test]
    fn foreign_keys_are_told_by_their_headings() {
        let part = |name: &str, kind: &str, text: &str| {
            format!("\n--\n-- Name: {name}; Type: {kind}; Schema: s; Owner: o\n--\n\n{text}\n\n")
        };
        let head = "--\n-- PostgreSQL database dump\n--\n\nSET x = 0;\n";
        let key = part("b b_fkey", "FK CONSTRAINT", "ALTER TABLE b ADD FOREIGN KEY;");
        let primary = part("a_pkey", "CONSTRAINT", "ALTER TABLE a ADD PRIMARY KEY;");
        let (rest, keys) = split_foreign_keys(&format!("{head}{primary}{key}"));
        assert_eq!((rest, keys), (format!("{head}{primary}"), format!("{head}{key}")));
        assert_eq!(split_foreign_keys(&format!("{head}{primary}")).1, head);
        // What ends the dump belongs to no object.
        let footer = "\n--\n-- PostgreSQL database dump complete\n--\n";
        let whole = split_foreign_keys(&format!("{head}{primary}{key}{footer}")).0;
        assert_eq!(whole, format!("{head}{primary}{footer}"));
    }

    #[test]
    fn patterns_match_one_name() {
        assert_eq!(pattern("Odd.*\"Name"), "\"Odd.*\"\"Name\"");
    }
}
