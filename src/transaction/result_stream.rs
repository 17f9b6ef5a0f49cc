//! The result of one request as it arrives. Shared by the execution that reads it and the link, which may have to read
//! it to its end because another statement needs the session.

use crate::error::Error;

/// How a request ended.
#[derive(Debug)]
pub enum Outcome {
    /// The command is complete, with its tag.
    Complete(String),
    /// The portal has more rows.
    Suspended,
    /// The node reported an error, or was lost.
    Failed(Error),
}

/// Prefetched rows, and the outcome of the request.
#[derive(Default)]
pub struct ResultStream {
    rows: Vec<u8>,
    at: usize,
    /// Set once ReadyForQuery has arrived.
    pub outcome: Option<Outcome>,
    /// Number of rows changed by statements that precede the request's own.
    pub counted: u64,
    /// The rest will not be read.
    pub abandoned: bool,
    /// Nesting level of the request; 0 outside a transaction block.
    pub level: u32,
}

impl ResultStream {
    /// Creates the stream of a request at a nesting level (0: outside a transaction block).
    pub fn new(level: u32) -> Self {
        Self { level, ..Self::default() }
    }

    /// Keeps a row for later.
    pub fn keep(&mut self, row: &[u8]) {
        // A row is below 1 GB, so its length fits.
        self.rows.extend((row.len() as u32).to_ne_bytes());
        self.rows.extend_from_slice(row);
    }

    /// Takes the prefetched rows, so that reading them may run statements.
    pub fn take_rows(&mut self) -> Option<(Vec<u8>, usize)> {
        if self.rows.is_empty() {
            return None;
        }
        Some((std::mem::take(&mut self.rows), std::mem::take(&mut self.at)))
    }

    /// Puts back what [`Self::take_rows`] took, without the rows up to `at`.
    pub fn put_rows(&mut self, rows: Vec<u8>, at: usize) {
        if at < rows.len() {
            (self.rows, self.at) = (rows, at);
        }
    }
}

/// The row at a position, and the position after it.
pub fn row_at(rows: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let (length, rest) = rows.get(at..)?.split_first_chunk::<4>()?;
    let length = u32::from_ne_bytes(*length) as usize;
    Some((rest.get(..length)?, at + 4 + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_in_order() {
        let mut stream = ResultStream::default();
        assert!(stream.take_rows().is_none());
        stream.keep(b"one");
        stream.keep(b"");
        let (rows, at) = stream.take_rows().unwrap();
        let (row, next) = row_at(&rows, at).unwrap();
        assert_eq!(row, b"one");
        stream.put_rows(rows, next);
        let (rows, at) = stream.take_rows().unwrap();
        let (row, next) = row_at(&rows, at).unwrap();
        assert_eq!((row, next), (b"".as_slice(), rows.len()));
        stream.put_rows(rows, next);
        assert!(stream.take_rows().is_none());
    }
}
