//! What a survey asks about the functions that a query calls: the rooms above decide it, and the compiler binds their answers
//! in the walk.

use pgrx::pg_sys::Oid;

/// What a function does with the rows, the files or the numbers of the relation that is its first argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationAccess {
    /// It answers from them.
    Reads,
    /// It changes them.
    Changes,
}

/// What the extension says of functions. The walk asks for each call of a function that came with the server, so an answer is
/// a comparison of numbers.
pub trait FunctionRules {
    /// Whether the function acts on the session or server that it is called on, or tells something of it.
    fn is_bound(function: Oid) -> bool;
    /// What the function does with the relation that is its first argument; `None` if it looks at the definition at most.
    fn relation_access(function: Oid) -> Option<RelationAccess>;
    /// Whether a call of the function is redirected when its target shows at run time only.
    fn is_redirected(function: Oid) -> bool;
    /// PostgreSQL's function for one that a call was redirected to already; else the function itself.
    fn original(function: Oid) -> Oid;
    /// The function that a call is redirected to; `None` if the database does not have it.
    fn target(function: Oid) -> Option<Oid>;
    /// Schema and name of what a call of PostgreSQL's function of this name is redirected to, whatever its arguments.
    fn target_of_name(name: &str) -> Option<(&'static str, &'static str)>;
}

/// The rules of a walk that looks for other things than functions.
pub(in crate::pg) struct NoRules;

impl FunctionRules for NoRules {
    fn is_bound(_: Oid) -> bool {
        false
    }
    fn relation_access(_: Oid) -> Option<RelationAccess> {
        None
    }
    fn is_redirected(_: Oid) -> bool {
        false
    }
    fn original(function: Oid) -> Oid {
        function
    }
    fn target(_: Oid) -> Option<Oid> {
        None
    }
    fn target_of_name(_: &str) -> Option<(&'static str, &'static str)> {
        None
    }
}
