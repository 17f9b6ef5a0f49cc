//! Message bodies.

use super::FrameError;

/// The columns of a DataRow (`D`): None for NULL, or the value's bytes. Ends after the first error.
pub fn columns(body: &[u8]) -> Result<Columns<'_>, FrameError> {
    let (count, rest) = take::<2>(body).ok_or(FrameError::Body("DataRow"))?;
    Ok(Columns { left: usize::from(u16::from_be_bytes(count)), rest })
}

/// See [`columns`].
#[derive(Debug, Clone)]
pub struct Columns<'a> {
    left: usize,
    rest: &'a [u8],
}

impl<'a> Iterator for Columns<'a> {
    type Item = Result<Option<&'a [u8]>, FrameError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            let trailing = !std::mem::take(&mut self.rest).is_empty();
            return trailing.then_some(Err(FrameError::Body("DataRow")));
        }
        self.left -= 1;
        let column = self.column();
        if column.is_none() {
            self.left = 0;
            self.rest = &[];
        }
        Some(column.ok_or(FrameError::Body("DataRow")))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left + 1))
    }
}

impl<'a> Columns<'a> {
    #[inline]
    fn column(&mut self) -> Option<Option<&'a [u8]>> {
        let (length, rest) = take::<4>(self.rest)?;
        let length = i32::from_be_bytes(length);
        if length == -1 {
            self.rest = rest;
            return Some(None);
        }
        let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(Some(value))
    }
}

/// A digest of a result's columns: their names, order and types. Results with different columns have different digests,
/// with a probability of collision of 2^-64.
#[derive(Debug, Clone, Copy)]
pub struct ColumnsDigest(u64);

impl Default for ColumnsDigest {
    /// The digest of a result without columns.
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl ColumnsDigest {
    /// Type OIDs from here on differ between servers.
    const FIRST_UNPINNED_TYPE: u32 = 10_000;

    /// Adds the next column. Types whose OIDs differ between servers are not distinguished; a domain counts as its base
    /// type, as in a RowDescription.
    #[inline]
    pub fn add(&mut self, name: &[u8], of_type: u32) {
        let of_type = if of_type < Self::FIRST_UNPINNED_TYPE { of_type } else { 0 };
        // Names contain no NUL, so different lists of columns have different bytes.
        for &byte in name.iter().chain(&[0]).chain(&of_type.to_be_bytes()) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// The digest, which is never 0.
    pub fn finish(self) -> u64 {
        self.0.max(1)
    }
}

/// The columns of a RowDescription (`T`): name and type OID of each. Ends after the first error.
pub fn described_columns(
    body: &[u8],
) -> Result<impl Iterator<Item = Result<(&[u8], u32), FrameError>>, FrameError> {
    const MALFORMED: FrameError = FrameError::Body("RowDescription");
    let (count, mut rest) = take::<2>(body).ok_or(MALFORMED)?;
    let mut left = u16::from_be_bytes(count);
    Ok(std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let column = described_column(&mut rest);
        if column.is_none() {
            left = 0;
        }
        Some(column.ok_or(MALFORMED))
    }))
}

/// After the name: table (4 bytes), column (2), type (4), its size (2) and modifier (4), format (2).
fn described_column<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], u32)> {
    let (name, tail) = c_string(rest)?;
    let (fixed, tail) = take::<18>(tail)?;
    *rest = tail;
    Some((name, u32::from_be_bytes([fixed[6], fixed[7], fixed[8], fixed[9]])))
}

/// The fields of an ErrorResponse (`E`) or NoticeResponse (`N`), in the sender's encoding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names are those of the protocol's documentation
pub struct ErrorFields<'a> {
    /// In the server's lc_messages language.
    pub severity: Option<&'a [u8]>,
    /// Always in English.
    pub severity_nonlocalized: Option<&'a [u8]>,
    /// The SQLSTATE.
    pub code: Option<&'a [u8]>,
    pub message: Option<&'a [u8]>,
    pub detail: Option<&'a [u8]>,
    pub hint: Option<&'a [u8]>,
    /// In characters of the statement, from 1.
    pub position: Option<u32>,
    pub internal_position: Option<u32>,
    pub internal_query: Option<&'a [u8]>,
    pub context: Option<&'a [u8]>,
    pub schema: Option<&'a [u8]>,
    pub table: Option<&'a [u8]>,
    pub column: Option<&'a [u8]>,
    pub data_type: Option<&'a [u8]>,
    pub constraint: Option<&'a [u8]>,
    pub file: Option<&'a [u8]>,
    pub line: Option<u32>,
    pub routine: Option<&'a [u8]>,
}

/// Parses an ErrorResponse or NoticeResponse. Unknown fields are skipped, as the protocol requires.
pub fn error_fields(body: &[u8]) -> Result<ErrorFields<'_>, FrameError> {
    const MALFORMED: FrameError = FrameError::Body("ErrorResponse");
    let mut fields = ErrorFields::default();
    let mut rest = body;
    loop {
        let (&kind, tail) = rest.split_first().ok_or(MALFORMED)?;
        if kind == 0 {
            return if tail.is_empty() { Ok(fields) } else { Err(MALFORMED) };
        }
        let (value, tail) = c_string(tail).ok_or(MALFORMED)?;
        rest = tail;
        let slot = match kind {
            b'S' => &mut fields.severity,
            b'V' => &mut fields.severity_nonlocalized,
            b'C' => &mut fields.code,
            b'M' => &mut fields.message,
            b'D' => &mut fields.detail,
            b'H' => &mut fields.hint,
            b'q' => &mut fields.internal_query,
            b'W' => &mut fields.context,
            b's' => &mut fields.schema,
            b't' => &mut fields.table,
            b'c' => &mut fields.column,
            b'd' => &mut fields.data_type,
            b'n' => &mut fields.constraint,
            b'F' => &mut fields.file,
            b'R' => &mut fields.routine,
            b'P' | b'p' | b'L' => {
                let number = Some(decimal(value).ok_or(MALFORMED)?);
                match kind {
                    b'P' => fields.position = number,
                    b'p' => fields.internal_position = number,
                    _ => fields.line = number,
                }
                continue;
            }
            _ => continue,
        };
        *slot = Some(value);
    }
}

/// The tag of a CommandComplete (`C`), such as `INSERT 0 5`.
pub fn command_tag(body: &[u8]) -> Result<&str, FrameError> {
    const MALFORMED: FrameError = FrameError::Body("CommandComplete");
    match c_string(body) {
        Some((tag, [])) => std::str::from_utf8(tag).map_err(|_| MALFORMED),
        _ => Err(MALFORMED),
    }
}

/// The row count at the end of a command tag; None for commands without one.
pub fn rows_affected(tag: &str) -> Option<u64> {
    let (_, count) = tag.rsplit_once(' ')?;
    count.bytes().all(|byte| byte.is_ascii_digit()).then(|| count.parse().ok())?
}

/// A CopyInResponse (`G`), CopyOutResponse (`H`) or CopyBothResponse (`W`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyResponse {
    /// 0 is text, 1 is binary.
    pub format: i8,
    /// One format code per column.
    pub columns: Vec<i16>,
}

/// Parses the message that starts a COPY.
pub fn copy_response(body: &[u8]) -> Result<CopyResponse, FrameError> {
    const MALFORMED: FrameError = FrameError::Body("CopyResponse");
    let (&[format, a, b], rest) = body.split_first_chunk().ok_or(MALFORMED)?;
    let (formats, odd) = rest.as_chunks::<2>();
    if !odd.is_empty() || formats.len() != usize::from(u16::from_be_bytes([a, b])) {
        return Err(MALFORMED);
    }
    let columns = formats.iter().map(|&format| i16::from_be_bytes(format)).collect();
    Ok(CopyResponse { format: i8::from_be_bytes([format]), columns })
}

fn take<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    bytes.split_first_chunk::<N>().map(|(head, rest)| (*head, rest))
}

fn c_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

fn decimal(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
