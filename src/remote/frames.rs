//! The read buffer of a session: whole messages are handed out without copying.
//!
//! The bytes are shared by reference count: a row that is being looked at stays valid although another
//! statement on the same session (a function called while the row is decoded) reads on. Then, and only
//! then, reading goes on in a fresh buffer.

use crate::error::{Error, Result};
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::ops::Deref;
use std::rc::Rc;

const SMALL: usize = 8 * 1024;
/// The buffer grows up to this size by itself; only a message that is longer makes it grow more.
const LARGE: usize = 256 * 1024;

/// One message of the frontend/backend protocol; dereferences to its body.
pub struct Frame {
    /// The message's type.
    pub kind: u8,
    data: Rc<Vec<u8>>,
    from: usize,
    to: usize,
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.data[self.from..self.to]
    }
}

/// Bytes that arrived and were not yet taken as frames.
pub struct FrameBuffer {
    data: Rc<Vec<u8>>,
    start: usize,
    end: usize,
}

impl FrameBuffer {
    /// An empty buffer that has not allocated yet.
    pub fn new() -> Self {
        Self { data: Rc::new(Vec::new()), start: 0, end: 0 }
    }

    /// Whether every byte was taken.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The next whole message, if it has arrived. 08P01 if the bytes are no message.
    #[inline]
    pub fn next(&mut self) -> Result<Option<Frame>> {
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

    /// Length of the next message with its header, once the header has arrived.
    #[inline]
    fn frame_length(&self) -> Result<Option<usize>> {
        match self.data[self.start..self.end] {
            [_, a, b, c, d, ..] => {
                let length = u32::from_be_bytes([a, b, c, d]);
                if !(4..=0x4000_0000).contains(&length) {
                    return Err(Error::new(
                        PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
                        format!("node sent a message of invalid length {length}"),
                    ));
                }
                Ok(Some(length as usize + 1))
            }
            _ => Ok(None),
        }
    }

    /// Room to read into, at least enough for the rest of the message that has begun.
    pub fn room(&mut self) -> Result<&mut [u8]> {
        let needed = self.frame_length()?.unwrap_or(5);
        let pending = self.end - self.start;
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
                // Moving what is left is worth it only when room gets short.
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
        match Rc::get_mut(&mut self.data) {
            Some(data) => Ok(&mut data[end..]),
            None => {
                Err(Error::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "read buffer is shared"))
            }
        }
    }

    /// `n` bytes were read into [`Self::room`].
    pub fn filled(&mut self, n: usize) {
        self.end += n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut m = vec![kind];
        m.extend((body.len() as u32 + 4).to_be_bytes());
        m.extend(body);
        m
    }

    fn feed(buffer: &mut FrameBuffer, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = buffer.room().unwrap();
            let n = room.len().min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
            buffer.filled(n);
            bytes = &bytes[n..];
        }
    }

    #[test]
    fn frames_come_out_whole_however_the_bytes_arrive() {
        let bodies: Vec<Vec<u8>> = (0..200usize).map(|i| vec![i as u8; i * 37 % 1000]).collect();
        let stream: Vec<u8> = bodies.iter().flat_map(|b| message(b'D', b)).collect();
        for chunk in [1, 3, 5, 64, 4096] {
            let (mut buffer, mut seen) = (FrameBuffer::new(), Vec::new());
            for part in stream.chunks(chunk) {
                feed(&mut buffer, part);
                while let Some(frame) = buffer.next().unwrap() {
                    seen.push(frame.to_vec());
                }
            }
            assert_eq!(seen, bodies, "chunks of {chunk}");
        }
    }

    #[test]
    fn a_row_being_looked_at_survives_further_reading() {
        let mut buffer = FrameBuffer::new();
        feed(&mut buffer, &message(b'D', b"kept"));
        let kept = buffer.next().unwrap().unwrap();
        for i in 0..10_000u32 {
            feed(&mut buffer, &message(b'D', &i.to_be_bytes()));
            assert_eq!(*buffer.next().unwrap().unwrap(), i.to_be_bytes());
        }
        assert_eq!(&*kept, b"kept");
    }

    #[test]
    fn a_giant_row_does_not_stay_in_memory() {
        let mut buffer = FrameBuffer::new();
        feed(&mut buffer, &message(b'D', &vec![7; 5_000_000]));
        assert_eq!(buffer.next().unwrap().unwrap().len(), 5_000_000);
        assert!(buffer.data.len() > 5_000_000);
        feed(&mut buffer, &message(b'D', b"x"));
        assert_eq!(buffer.next().unwrap().unwrap().len(), 1);
        assert!(buffer.data.len() <= LARGE, "{}", buffer.data.len());
    }

    #[test]
    fn nonsense_is_an_error() {
        let mut buffer = FrameBuffer::new();
        let room = buffer.room().unwrap();
        room[..5].copy_from_slice(&[b'D', 0, 0, 0, 3]);
        buffer.filled(5);
        assert_eq!(buffer.next().err().unwrap().sqlstate(), "08P01");
    }
}
