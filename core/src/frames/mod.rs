//! The message stream that a PostgreSQL backend sends.
//!
//! Job: cut the stream into messages without copying them, and read the few message bodies that
//! the extension looks into. Source: PostgreSQL documentation, "Frontend/Backend Protocol",
//! "Message Formats".
//! Invariant: no input makes it panic or reserve more memory than what has arrived, twice over.
//! Locks: none; the whole folder is pure.

mod body;
mod buffer;

#[cfg(test)]
mod tests;

pub use body::{
    Columns, ColumnsDigest, CopyResponse, ErrorFields, columns, command_tag, copy_response,
    described_columns, error_fields, rows_affected,
};
pub use buffer::{DEFAULT_LIMIT, Frame, FrameBuffer};

/// Bytes that no PostgreSQL server sends (SQLSTATE 08P01).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length word is less than its own size.
    #[error("message of type {kind:?} has the impossible length {length}")]
    Length {
        /// The message's type, as a character.
        kind: char,
        /// The length word as it was sent.
        length: i32,
    },
    /// The message is longer than the buffer's limit.
    #[error("message of type {kind:?} with {length} bytes is longer than the limit of {limit}")]
    TooLong {
        /// The message's type, as a character.
        kind: char,
        /// Bytes of the message's body.
        length: usize,
        /// The limit for a body.
        limit: usize,
    },
    /// A body that does not hold what its type says.
    #[error("malformed {0} message")]
    Body(&'static str),
}
