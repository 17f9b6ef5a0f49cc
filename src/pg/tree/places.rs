//! What a node has by itself, for statements of which the rest is sent there.

use crate::error::Result;
use crate::pg::tree::Survey;
use pgrx::pg_sys::Oid;

/// Decides what of a statement the node has by itself.
pub trait Places {
    /// Whether the node can run a subquery that touches these things.
    fn stays(&self, survey: &Survey<'_>) -> Result<bool>;
    /// Whether the node has the rows of a relation.
    fn has_rows(&self, relation: Oid) -> Result<bool>;
    /// Whether a relation's rows are changed on the node, which then has more than a copy of them.
    fn changes_rows(&self, relation: Oid) -> Result<bool>;
    /// Errors: 0A000 for a type that the node does not have.
    fn check_type(&self, of_type: Oid) -> Result<()>;
}
