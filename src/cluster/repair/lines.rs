//! Definitions of a schema as lines of text that are equal where the definitions are equal, computed by the same query
//! on the coordinator and on nodes.
//!
//! The query never calls user-defined code: definitions are deparsed, not executed. OIDs and properties that differ by
//! design (rows, validity of constraints, anything that migrations change temporarily) are omitted.

use crate::error::Result;
use crate::pg::session::sql;
use crate::remote::Session;
use crate::replication::endpoints::{names, text};

/// Common table expressions, the last of which is `lines`; they refer to `wanted`.
const LINES: &str = include_str!("lines.sql");

/// The aspect of an object that a line describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// The line describes the object; the key is the smallest enclosing object that can be created by itself.
    Definition,
    /// The line is the owner's name; the key is the ALTER ... OWNER TO statement without the name.
    Owner,
    /// The line is the GRANT statement; the key is the REVOKE statement that undoes it.
    Privileges,
    /// The line is the comment as a literal; the key is the COMMENT statement without the literal.
    Comment,
}

/// One line that describes an object of a schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    pub aspect: Aspect,
    /// The object's description for users.
    pub object: String,
    pub line: String,
    /// Grantor of the privilege, if it is not the owner.
    pub role: Option<String>,
    pub key: String,
}

/// A line of this server with the object that its key identifies, whose OID differs on other servers.
#[derive(Clone, Debug)]
pub struct LocalLine {
    pub line: Line,
    pub class: u32,
    pub id: u32,
}

/// Builds a query on the lines of schemas.
pub fn query(schemas: &[String], select: &str) -> String {
    let wanted = names(schemas);
    format!(
        "WITH wanted AS MATERIALIZED (SELECT * FROM pg_namespace WHERE nspname = ANY ({wanted})), {LINES} {select}"
    )
}

const COLUMNS: &str = "SELECT object, line, aspect, key, role, class::text, id::text FROM lines ORDER BY object, line, role";

fn read(row: &[Option<String>]) -> LocalLine {
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
    LocalLine { line, class: number(5), id: number(6) }
}

/// Reads the lines of a schema on a node.
pub fn there(schema: &str, session: &mut Session) -> Result<Vec<Line>> {
    let rows = session.query(&query(&[schema.to_owned()], COLUMNS))?;
    Ok(rows.iter().map(|row| read(row).line).collect())
}

/// Reads the lines of a schema on this server.
pub fn here(schema: &str) -> Result<Vec<LocalLine>> {
    rows(&query(&[schema.to_owned()], COLUMNS), 7)
        .map(|rows| rows.iter().map(|row| read(row)).collect())
}

/// Runs a query with text result columns on this server; it sees the transaction's own changes.
pub fn rows(query: &str, columns: usize) -> Result<Vec<Vec<Option<String>>>> {
    sql::rows(query, &[], |row| (1..=columns).map(|at| row.get::<String>(at)).collect())
}

/// Formats objects as a list of (class, oid) for queries.
pub fn pairs(objects: &[(u32, u32)]) -> String {
    let all: Vec<_> =
        objects.iter().map(|(class, id)| format!("({class}::oid, {id}::oid)")).collect();
    match all.is_empty() {
        true => "(0::oid, 0::oid)".into(),
        false => all.join(", "),
    }
}
