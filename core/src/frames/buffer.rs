//! The read buffer of a session: complete messages are returned without copying.
//!
//! The memory is reference-counted: a row being processed stays valid even if another statement on the same session (a
//! function called while the row is decoded) continues to read. In this case only, reading continues in a new buffer.

use super::FrameError;
use std::ops::Deref;
use std::rc::Rc;

/// Size of the first allocation, in bytes.
const SMALL: usize = 8 * 1024;
/// The buffer grows up to this size; only a longer message makes it larger.
const LARGE: usize = 256 * 1024;
/// Maximum length of a message, without its type byte: PostgreSQL never sends more than 1 GiB.
const LONGEST: u32 = 0x4000_0000;

/// One message of the frontend/backend protocol; dereferences to its body.
#[derive(Debug)]
pub struct Frame {
    /// The message's type.
    pub kind: u8,
    data: Rc<Vec<u8>>,
    from: usize,
    to: usize,
}

impl Deref for Frame {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.data[self.from..self.to]
    }
}

/// Received bytes that have not been returned as frames.
///
/// Read into [`room`](Self::room), report the number of bytes to [`filled`](Self::filled), and call
/// [`next_frame`](Self::next_frame) until it returns None.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    data: Rc<Vec<u8>>,
    start: usize,
    end: usize,
}

impl FrameBuffer {
    /// Whether all bytes have been returned.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The next complete message, if it has arrived. After an error the stream is unusable: the error is returned
    /// again.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(length) = self.frame_length()? else { return Ok(None) };
        if self.end - self.start < length {
            return Ok(None);
        }
        let from = self.start;
        self.start += length;
        Ok(Some(Frame {
            kind: self.data[from],
            data: Rc::clone(&self.data),
            from: from + 5,
            to: from + length,
        }))
    }

    /// Length of the next message including its header, once the header has arrived.
    #[inline]
    fn frame_length(&self) -> Result<Option<usize>, FrameError> {
        match self.data[self.start..self.end] {
            [_, a, b, c, d, ..] => {
                let length = u32::from_be_bytes([a, b, c, d]);
                if !(4..=LONGEST).contains(&length) {
                    return Err(FrameError::Length(length));
                }
                Ok(Some(length as usize + 1))
            }
            _ => Ok(None),
        }
    }

    /// Space to read into; never empty. A length word alone does not reserve much: the buffer grows to at most twice
    /// the amount received, or 256 KiB.
    pub fn room(&mut self) -> Result<&mut [u8], FrameError> {
        let pending = self.end - self.start;
        let needed = self.frame_length()?.unwrap_or(5).min(LARGE.max(2 * pending));
        let full = self.start == 0 && self.end == self.data.len() && !self.data.is_empty();
        let mut capacity = self.data.len().max(SMALL);
        if full && capacity < LARGE {
            capacity *= 2; // the last read filled it: a stream
        } else if pending == 0 && capacity > LARGE {
            capacity = LARGE; // the giant row is gone
        }
        capacity = capacity.max(needed.checked_next_power_of_two().unwrap_or(needed));
        let in_place = capacity == self.data.len();
        match Rc::get_mut(&mut self.data) {
            Some(data) if in_place => {
                // Move the remaining bytes only if space gets short.
                if pending == 0
                    || data.len() - self.end < data.len() / 4
                    || data.len() - self.start < needed
                {
                    data.copy_within(self.start..self.end, 0);
                    (self.start, self.end) = (0, pending);
                }
            }
            _ => {
                let mut data = vec![0; capacity];
                data[..pending].copy_from_slice(&self.data[self.start..self.end]);
                self.data = Rc::new(data);
                (self.start, self.end) = (0, pending);
            }
        }
        let end = self.end;
        // Nobody shares the buffer at this point, so nothing is copied.
        Ok(&mut Rc::make_mut(&mut self.data)[end..])
    }

    /// Records that `n` bytes were read into [`Self::room`].
    #[inline]
    pub fn filled(&mut self, n: usize) {
        self.end += n;
    }

    /// Size of the buffer's memory.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.data.len()
    }
}
