//! Definitions of a schema as lines of text that are equal where the definitions are equal, computed by the same query
//! on the coordinator and on nodes.
//!
//! The query never calls user-defined code: definitions are deparsed, not executed. OIDs and properties that differ by
//! design (rows, validity of constraints, anything that migrations change temporarily) are omitted.

use crate::error::{Error, Result};
use crate::remote::{Record, Session, own_rows};
use crate::replication::endpoints::names;

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

fn read(row: &Record) -> Result<LocalLine> {
    let number = |column| Ok::<_, Error>(row.parsed(column)?.unwrap_or(0));
    let aspect = match row.text("aspect")?.as_str() {
        "owner" => Aspect::Owner,
        "privileges" => Aspect::Privileges,
        "comment" => Aspect::Comment,
        _ => Aspect::Definition,
    };
    let (object, line, key) = (row.text("object")?, row.text("line")?, row.text("key")?);
    let role = row.option("role")?.map(str::to_owned);
    let line = Line { aspect, object, line, role, key };
    Ok(LocalLine { line, class: number("class")?, id: number("id")? })
}

/// Reads the lines of a schema on a node.
pub fn there(schema: &str, session: &mut Session) -> Result<Vec<Line>> {
    let rows = session.query(&query(&[schema.to_owned()], COLUMNS))?;
    rows.iter().map(|row| Ok(read(row)?.line)).collect()
}

/// Reads the lines of a schema on this server.
pub fn here(schema: &str) -> Result<Vec<LocalLine>> {
    own_rows(&query(&[schema.to_owned()], COLUMNS))?.iter().map(read).collect()
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
