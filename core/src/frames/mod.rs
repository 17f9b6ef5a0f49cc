//! The message stream that a PostgreSQL backend sends.
//!
//! Job: cut the stream into messages without copying them, and read the few message bodies that
//! the extension looks into. Source: PostgreSQL documentation, "Frontend/Backend Protocol",
//! "Message Formats".
//! Invariant: no input makes it panic, or reserve more memory than 256 KiB or twice what has arrived.
//! Locks: none; the whole folder is pure.

mod body;
mod buffer;

#[cfg(test)]
mod tests;

pub use body::{
    Columns, ColumnsDigest, CopyResponse, ErrorFields, columns, command_tag, copy_response,
    described_columns, error_fields, rows_affected,
};
pub use buffer::{Frame, FrameBuffer};

/// Bytes that no PostgreSQL server sends (SQLSTATE 08P01).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length word is less than its own size, or more than PostgreSQL ever sends.
    #[error("message with invalid length {0} received from a node")]
    Length(u32),
    /// A body that does not hold what its type says.
    #[error("malformed {0} message")]
    Body(&'static str),
}
