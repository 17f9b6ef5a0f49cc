//! The definition of a relation as statements without LIKE, read from this server's catalogs, for a node that does not
//! have what the command refers to.

use crate::error::Result;
use crate::pg::exec::copy_from::PINNED;
use crate::pg::session::own_settings::OwnSettings;
use crate::pg::session::sql;
use pgrx::pg_sys::Oid;

const QUERY: &str = include_str!("relation_definition.sql");

/// When a statement of a definition runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Before the rows are inserted.
    BeforeRows,
    /// After the rows were inserted: indexes, constraints, triggers, policies, comments.
    AfterRows,
}

/// One statement of a definition.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) stage: Stage,
    pub(super) text: String,
}

/// The statements that define a table, view or sequence with all that belongs to it, in order; without owner and
/// privileges. Their constants are those of [`super::send::pinned`].
pub(super) fn of(relation: Oid) -> Result<Vec<Definition>> {
    let _settings = OwnSettings::begin(&PINNED[1..]);
    sql::rows(QUERY, &[relation.into()], |row| {
        let stage = match row.value::<i32>("stage")? {
            3 => Stage::AfterRows,
            _ => Stage::BeforeRows,
        };
        Ok(Definition { stage, text: row.value("text")? })
    })
}
