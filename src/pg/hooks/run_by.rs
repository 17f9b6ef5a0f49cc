//! The result of hooks that may run something instead of PostgreSQL.

/// Who runs a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunBy<T = ()> {
    /// The extension has run it, with this result.
    Extension(T),
    /// PostgreSQL runs it as usual.
    Server,
}
