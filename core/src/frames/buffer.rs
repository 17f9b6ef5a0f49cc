//! The reusable read buffer.

use super::FrameError;

/// Type byte and length word.
const HEADER: usize = 5;
/// What a buffer holds when it has seen no big message, in bytes.
const INITIAL: usize = 64 * 1024;
/// Room that [`FrameBuffer::spare`] always offers, in bytes.
const LEAST_SPARE: usize = 8 * 1024;
/// A grown buffer is given back after it has been emptied so often without being needed.
const IDLE_ROUNDS: u32 = 32;

/// The longest body that a buffer takes unless told otherwise: PostgreSQL never sends 1 GiB.
pub const DEFAULT_LIMIT: usize = 0x3fff_ffff;

/// One message of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The type byte, such as `b'D'`.
    pub kind: u8,
    /// What follows the length word.
    pub body: &'a [u8],
}

/// Collects bytes from a socket and gives them out as messages.
///
/// Use: read into [`spare`](Self::spare), say how many bytes came with [`filled`](Self::filled),
/// take messages with [`next_frame`](Self::next_frame) until it gives None.
#[derive(Debug)]
pub struct FrameBuffer {
    /// Always initialised as a whole; bytes `start..end` are unread.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    limit: usize,
    /// Rounds (buffer emptied) since the buffer last had to grow.
    idle: u32,
}

impl Default for FrameBuffer {
    fn default() -> Self {
        Self::with_limit(DEFAULT_LIMIT)
    }
}

impl FrameBuffer {
    /// An empty buffer that takes bodies up to `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        FrameBuffer { bytes: vec![0; INITIAL], start: 0, end: 0, limit, idle: 0 }
    }

    /// Where the next bytes go; never empty. It may move what is unread, so ask for it only when
    /// [`next_frame`](Self::next_frame) gave None.
    pub fn spare(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            self.shrink();
        }
        if self.bytes.len() - self.end < LEAST_SPARE && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.bytes.len() - self.end < LEAST_SPARE {
            self.grow();
        }
        &mut self.bytes[self.end..]
    }

    /// The first `count` bytes of the spare room now hold data. A count beyond the room is taken
    /// as the whole of it.
    pub fn filled(&mut self, count: usize) {
        debug_assert!(count <= self.bytes.len() - self.end, "filled more than the spare room");
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// The next whole message; None when more bytes are needed. After an error the stream is lost:
    /// the same error comes again.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let unread = &self.bytes[self.start..self.end];
        let Some((&[kind, a, b, c, d], rest)) = unread.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = body_length(kind, i32::from_be_bytes([a, b, c, d]), self.limit)?;
        let Some(body) = rest.get(..length) else { return Ok(None) };
        self.start += HEADER + length;
        Ok(Some(Frame { kind, body }))
    }

    /// How many bytes have come that no message has been made of yet.
    pub fn unread(&self) -> usize {
        self.end - self.start
    }

    /// Bytes of memory that the buffer holds.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of the unfinished message at the front, once its header is there.
    fn unfinished(&self) -> Option<usize> {
        let (&[kind, a, b, c, d], _) = self.bytes[self.start..self.end].split_first_chunk()?;
        let length = i32::from_be_bytes([a, b, c, d]);
        body_length(kind, length, self.limit).ok().map(|length| HEADER + length)
    }

    /// Makes room for the rest of the unfinished message, but not more than what has come of it
    /// already: a length word alone reserves nothing, and a long message is moved few times.
    fn grow(&mut self) {
        let missing = self.unfinished().map_or(0, |total| total.saturating_sub(self.unread()));
        let room = missing.min(self.unread()).max(LEAST_SPARE);
        self.bytes.resize(self.end + room, 0);
        self.idle = 0;
    }

    fn shrink(&mut self) {
        if self.bytes.len() <= INITIAL {
            return;
        }
        self.idle += 1;
        if self.idle > IDLE_ROUNDS {
            self.bytes = vec![0; INITIAL];
            self.idle = 0;
        }
    }
}

#[inline]
fn body_length(kind: u8, length: i32, limit: usize) -> Result<usize, FrameError> {
    match usize::try_from(length).ok().and_then(|length| length.checked_sub(4)) {
        None => Err(FrameError::Length { kind: char::from(kind), length }),
        Some(length) if length > limit => {
            Err(FrameError::TooLong { kind: char::from(kind), length, limit })
        }
        Some(length) => Ok(length),
    }
}
