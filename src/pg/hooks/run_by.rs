//! The answer of those who are asked before PostgreSQL runs something.

/// Who runs a statement that the extension was asked for first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunBy<T = ()> {
    /// The extension has run it, with this result.
    Extension(T),
    /// PostgreSQL goes on as if nobody had been asked.
    Server,
}
