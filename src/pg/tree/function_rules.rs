//! Questions of a survey about the functions that a query calls: the rooms above provide the answers, and the compiler
//! resolves them statically.

use pgrx::pg_sys::Oid;

/// How a function accesses the rows, files or sequence values of the relation that is its first argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationAccess {
    /// It reads them.
    Reads,
    /// It changes them.
    Changes,
}

/// The extension's rules about functions. The walk checks every call of a built-in function, so an answer must be
/// no more than a few comparisons.
pub trait FunctionRules {
    /// Whether the function acts on, or returns information about, the session or server it is called on.
    fn is_bound(function: Oid) -> bool;
    /// How the function accesses the relation that is its first argument; `None` if it uses at most the definition.
    fn relation_access(function: Oid) -> Option<RelationAccess>;
    /// Whether a call of the function is redirected if its target is known only at run time.
    fn is_redirected(function: Oid) -> bool;
    /// The original PostgreSQL function of a call that has already been redirected; otherwise the function itself.
    fn original(function: Oid) -> Oid;
    /// The function to redirect a call to; `None` if it does not exist in the database.
    fn target(function: Oid) -> Option<Oid>;
    /// Schema and name of the replacement for a PostgreSQL function with this name, whatever its arguments.
    fn target_of_name(name: &str) -> Option<(&'static str, &'static str)>;
}

/// The rules of a walk that is not concerned with functions.
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
