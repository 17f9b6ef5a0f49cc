//! Values of identifiers and string constants.

use super::{Kind, Token, space};

/// Maximum length of an identifier (`NAMEDATALEN - 1`).
const NAME_BYTES: usize = 63;

/// Why a token has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The token is neither an identifier nor a string, or it is unterminated.
    #[error("not a name or a string")]
    Kind,
    /// `""`
    #[error("zero-length delimited identifier")]
    Empty,
    /// An invalid escape sequence.
    #[error("invalid escape sequence")]
    Escape,
    /// The bytes are not valid UTF-8.
    #[error("not valid UTF-8")]
    Encoding,
    /// The value of a plain string with a backslash depends on `standard_conforming_strings`.
    #[error("backslash in a plain string: write it as E'…'")]
    Backslash,
}

/// The name of an identifier token: folded to lower case (ASCII only, as in a UTF-8 database) or unquoted, and
/// truncated to 63 bytes at a character boundary. `escape` is the UESCAPE character, a backslash by default.
pub fn identifier(text: &[u8], token: Token, escape: u8) -> Result<String, ValueError> {
    let bytes = token.bytes(text);
    let name = match token.kind {
        Kind::Word => bytes.to_ascii_lowercase(),
        Kind::QuotedIdentifier => undouble(inner(bytes, 1)?, b'"'),
        Kind::UnicodeIdentifier => unicode(&undouble(inner(bytes, 3)?, b'"'), escape)?,
        _ => return Err(ValueError::Kind),
    };
    let mut name = String::from_utf8(name).map_err(|_| ValueError::Encoding)?;
    if name.is_empty() {
        return Err(ValueError::Empty);
    }
    name.truncate(name.floor_char_boundary(NAME_BYTES));
    Ok(name)
}

/// The value of a string token (see [`Token::is_string`]); `escape` as for [`identifier`]. A plain string must not
/// contain a backslash.
pub fn string(text: &[u8], token: Token, escape: u8) -> Result<String, ValueError> {
    let bytes = token.bytes(text);
    let value = match token.kind {
        Kind::String if bytes.contains(&b'\\') => return Err(ValueError::Backslash),
        Kind::String => undouble(&segments(bytes, 1, false)?, b'\''),
        Kind::EscapeString => unescape(&segments(bytes, 2, true)?)?,
        Kind::UnicodeString => unicode(&undouble(&segments(bytes, 3, false)?, b'\''), escape)?,
        Kind::DollarString => {
            let tag = 2 + bytes.iter().skip(1).position(|&b| b == b'$').ok_or(ValueError::Kind)?;
            let end = bytes.len().checked_sub(tag).ok_or(ValueError::Kind)?;
            bytes.get(tag..end).ok_or(ValueError::Kind)?.to_vec()
        }
        _ => return Err(ValueError::Kind),
    };
    String::from_utf8(value).map_err(|_| ValueError::Encoding)
}

/// The bytes between a prefix (including its quote) and the last quote.
fn inner(bytes: &[u8], prefix: usize) -> Result<&[u8], ValueError> {
    bytes.get(prefix..bytes.len().saturating_sub(1)).ok_or(ValueError::Kind)
}

/// The joined parts of a string that continues over several lines; doubled quotes are kept.
fn segments(bytes: &[u8], prefix: usize, backslash: bool) -> Result<Vec<u8>, ValueError> {
    let mut joined = Vec::with_capacity(bytes.len());
    let mut at = prefix;
    loop {
        let end = super::quoted_end(bytes, at, b'\'', backslash).ok_or(ValueError::Kind)?;
        joined.extend_from_slice(&bytes[at..end - 1]);
        match space::continuation(bytes, end) {
            Some(next) => at = next,
            None => return Ok(joined),
        }
    }
}

fn undouble(bytes: &[u8], quote: u8) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut bytes = bytes.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(byte);
        if byte == quote {
            bytes.next();
        }
    }
    plain
}

/// `E''` rules: quotes are doubled or escaped, `\b \f \n \r \t`, octal, hex and Unicode escapes.
fn unescape(bytes: &[u8]) -> Result<Vec<u8>, ValueError> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut pending = Surrogate::default();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte != b'\\' {
            pending.must_be_none()?;
            plain.push(byte);
            at += usize::from(byte == b'\'');
            continue;
        }
        let letter = *bytes.get(at).ok_or(ValueError::Escape)?;
        at += 1;
        if let b'u' | b'U' = letter {
            let digits = if letter == b'u' { 4 } else { 8 };
            pending.push(number(bytes, at, digits, 16)?, &mut plain)?;
            at += digits;
            continue;
        }
        pending.must_be_none()?;
        let length = match letter {
            b'0'..=b'7' => run(bytes, at - 1, 3, 8),
            b'x' => run(bytes, at, 2, 16),
            _ => 0,
        };
        let value = match letter {
            b'0'..=b'7' => {
                at += length - 1;
                number(bytes, at - length, length, 8)? as u8
            }
            b'x' if length > 0 => {
                at += length;
                number(bytes, at - length, length, 16)? as u8
            }
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            other => other,
        };
        if value == 0 {
            return Err(ValueError::Escape);
        }
        plain.push(value);
    }
    pending.must_be_none()?;
    Ok(plain)
}

/// `U&` rules: `\XXXX`, `\+XXXXXX`, and the escape character doubled.
fn unicode(bytes: &[u8], escape: u8) -> Result<Vec<u8>, ValueError> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut pending = Surrogate::default();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let (start, digits) = match bytes.get(at + 1) {
            _ if byte != escape => (0, 0),
            Some(&next) if next == escape => (0, 0),
            Some(b'+') => (at + 2, 6),
            _ => (at + 1, 4),
        };
        if digits == 0 {
            pending.must_be_none()?;
            plain.push(byte);
            at += if byte == escape { 2 } else { 1 };
        } else {
            pending.push(number(bytes, start, digits, 16)?, &mut plain)?;
            at = start + digits;
        }
    }
    pending.must_be_none()?;
    Ok(plain)
}

/// Number of digits of this radix that follow, at most `most`.
fn run(bytes: &[u8], at: usize, most: usize, radix: u32) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().take(most).take_while(|&&byte| char::from(byte).is_digit(radix)).count()
}

/// Exactly `count` digits as a number.
fn number(bytes: &[u8], at: usize, count: usize, radix: u32) -> Result<u32, ValueError> {
    let digits = bytes.get(at..at + count).ok_or(ValueError::Escape)?;
    digits.iter().try_fold(0u32, |sum, &byte| {
        let digit = char::from(byte).to_digit(radix).ok_or(ValueError::Escape)?;
        Ok(sum.wrapping_mul(radix).wrapping_add(digit))
    })
}

/// The first half of a UTF-16 surrogate pair.
#[derive(Default)]
struct Surrogate(Option<u32>);

impl Surrogate {
    fn push(&mut self, code: u32, plain: &mut Vec<u8>) -> Result<(), ValueError> {
        let code = match (self.0.take(), code) {
            (None, 0xd800..=0xdbff) => {
                self.0 = Some(code);
                return Ok(());
            }
            (None, code) => code,
            (Some(first), 0xdc00..=0xdfff) => 0x10000 + ((first - 0xd800) << 10) + (code - 0xdc00),
            (Some(_), _) => return Err(ValueError::Escape),
        };
        let character = char::from_u32(code).filter(|&c| c != '\0').ok_or(ValueError::Escape)?;
        plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn must_be_none(&self) -> Result<(), ValueError> {
        if self.0.is_some() { Err(ValueError::Escape) } else { Ok(()) }
    }
}
