//! What ALTER … SET SCHEMA is to move to another server.

use crate::catalog::NodeId;
use crate::error::Result;
use crate::pg::catalog::object::Object;
use crate::pg::session::sql;

/// One end of the move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// This server.
    Here,
    /// A node.
    Node(NodeId),
}

/// What kind of object moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Table,
    View,
    Sequence,
    Routine,
}

impl Kind {
    /// Its name in SQL.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Table => "TABLE",
            Self::View => "VIEW",
            Self::Sequence => "SEQUENCE",
            Self::Routine => "ROUTINE",
        }
    }
}

/// An object that moves to another server.
pub struct Relocation {
    pub(super) object: Object,
    pub(super) kind: Kind,
    pub(super) source: Place,
    pub(super) target: Place,
    /// The nodes that have the object before, for a routine.
    pub(super) nodes: Vec<NodeId>,
    pub(super) old_schema: String,
    pub(super) new_schema: String,
    /// Its qualified name before the move.
    pub(super) old_name: String,
}

/// The parts of an object that move with it, as `part (class, id)`; $1 and $2 are the object.
const PARTS: &str = "WITH RECURSIVE part (class, id) AS (
    VALUES ($1::oid, $2::oid)
    UNION
    SELECT d.classid, d.objid FROM part p JOIN pg_depend d ON d.refclassid = p.class AND d.refobjid = p.id
     WHERE d.deptype IN ('a', 'i', 'P', 'S')
       AND d.classid NOT IN (SELECT oid FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace
                                AND relname IN ('pg_publication_rel', 'pg_statistic_ext'))
       AND NOT EXISTS (SELECT FROM pg_class c WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid
                          AND c.relkind IN ('r', 'p', 'v', 'm', 'f')))";

/// An object, for queries on dependencies.
pub(super) fn objects(select: &str, of: Object) -> Result<Vec<Object>> {
    sql::rows(&format!("{PARTS} {select}"), &[of.class.into(), of.id.into()], |row| {
        Ok(Object { class: row.value("class")?, id: row.value("id")? })
    })
}
