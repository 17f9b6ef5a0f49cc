//! What schemas consist of, as lines of text that are the same where the definitions are: computed by one query that runs
//! here and on nodes.
//!
//! Nothing in the query calls what users wrote: definitions are printed, never run. Numbers of objects (OIDs) and what
//! differs by design (rows, whether constraints are validated, what migrations switch for a while) are left out.

use crate::error::Result;
use crate::pg::session::sql;
use crate::remote::Session;
use crate::replication::endpoints::{names, text};

/// Queries named one after the other, the last of which is `lines`; they need `wanted`.
const LINES: &str = include_str!("lines.sql");

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// The line describes the object; the key names the smallest object around it that can be made by itself.
    Definition,
    /// The line is the owner's name; the key is the statement that gives an owner, without its name.
    Owner,
    /// The line is the statement that makes the privilege as it is, the key the one that takes this back.
    Privileges,
    /// The line is the comment as a literal; the key is the statement that sets it, without the literal.
    Comment,
}

/// One line about an object of a schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    pub aspect: Aspect,
    /// What it is about, as people read it.
    pub object: String,
    pub line: String,
    /// Who has granted a privilege, if not the owner.
    pub role: Option<String>,
    pub key: String,
}

/// A line of this server, and the object that its key names, which has other numbers elsewhere.
#[derive(Clone, Debug)]
pub struct Here {
    pub line: Line,
    pub class: u32,
    pub id: u32,
}

/// A query over the lines of schemas.
pub fn query(schemas: &[String], select: &str) -> String {
    let wanted = names(schemas);
    format!(
        "WITH wanted AS MATERIALIZED (SELECT * FROM pg_namespace WHERE nspname = ANY ({wanted})), {LINES} {select}"
    )
}

const COLUMNS: &str = "SELECT object, line, aspect, key, role, class::text, id::text FROM lines ORDER BY object, line, role";

fn read(row: &[Option<String>]) -> Here {
    let number = |at| text(row, at).parse().unwrap_or(0);
    let aspect = match text(row, 2).as_str() {
        "owner" => Aspect::Owner,
        "privileges" => Aspect::Privileges,
        "comment" => Aspect::Comment,
        _ => Aspect::Definition,
    };
    let (object, line, key) = (text(row, 0), text(row, 1), text(row, 3));
    let role = row.get(4).cloned().flatten();
    let line = Line { aspect, object, line, role, key };
    Here { line, class: number(5), id: number(6) }
}

/// The lines of a schema on a node.
pub fn there(schema: &str, session: &mut Session) -> Result<Vec<Line>> {
    let rows = session.query(&query(&[schema.to_owned()], COLUMNS))?;
    Ok(rows.iter().map(|row| read(row).line).collect())
}

/// The lines of a schema of this server.
pub fn here(schema: &str) -> Result<Vec<Here>> {
    rows(&query(&[schema.to_owned()], COLUMNS), 7)
        .map(|rows| rows.iter().map(|row| read(row)).collect())
}

/// Rows of texts, of this server, with what the transaction has changed.
pub fn rows(query: &str, columns: usize) -> Result<Vec<Vec<Option<String>>>> {
    sql::rows(query, &[], |row| (1..=columns).map(|at| row.get::<String>(at)).collect())
}

/// An object as (class, oid), for queries.
pub fn pairs(objects: &[(u32, u32)]) -> String {
    let all: Vec<_> =
        objects.iter().map(|(class, id)| format!("({class}::oid, {id}::oid)")).collect();
    match all.is_empty() {
        true => "(0::oid, 0::oid)".into(),
        false => all.join(", "),
    }
}
