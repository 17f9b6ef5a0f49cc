//! The lexical rules of PostgreSQL's `scan.l`, over bytes.
//!
//! Job: cut a piece of SQL into tokens exactly where the server's own scanner cuts it, in any
//! server encoding (every byte of a multi-byte character has its high bit set there).
//! Invariant: tokens never overlap, never leave the text, and together with white space and
//! comments cover it whole; no input makes the lexer panic or stand still.
//! Locks: none; the whole folder is pure.

mod keywords;
mod space;
mod unescape;

#[cfg(test)]
pub(crate) mod tests;

pub use keywords::is_reserved;
pub use space::{block_comment_end, is_space, skip_space, statement_start};
pub use unescape::{ValueError, identifier, string};

/// The kind of a [`Token`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A plain word: keyword or identifier.
    Word,
    /// `"quoted identifier"`.
    QuotedIdentifier,
    /// `U&"identifier"`, without the UESCAPE that may follow it.
    UnicodeIdentifier,
    /// `'plain string'`, including continuations on later lines.
    String,
    /// `E'string with backslash escapes'`.
    EscapeString,
    /// `U&'string'`, without the UESCAPE that may follow it.
    UnicodeString,
    /// `B'0101'`.
    BitString,
    /// `X'1f'`.
    HexString,
    /// `N'national string'`, a single token here (the server splits it into a word and a string).
    NationalString,
    /// `$$string$$` or `$tag$string$tag$`.
    DollarString,
    /// A number, including trailing junk that the server rejects.
    Number,
    /// `$1`.
    Parameter,
    /// An operator of one or more characters; also `::`, `:=` and `..`.
    Operator,
    /// One of `, ( ) [ ] . ; :`.
    Punctuation,
    /// A string, quoted identifier or comment without an end; it extends to the end of the text.
    Unterminated,
    /// A byte that cannot start a token.
    Unknown,
}

/// One token of a text: its kind and its byte range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte.
    pub end: usize,
}

impl Token {
    /// The token's bytes; `text` is the text from which it was read.
    #[inline]
    pub fn bytes<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        text.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether it is this keyword (given in lower case), unquoted and in any case.
    #[inline]
    pub fn is_word(&self, text: &[u8], keyword: &str) -> bool {
        self.kind == Kind::Word && self.bytes(text).eq_ignore_ascii_case(keyword.as_bytes())
    }

    /// Whether it is this operator or punctuation mark.
    #[inline]
    pub fn is_mark(&self, text: &[u8], mark: &str) -> bool {
        matches!(self.kind, Kind::Operator | Kind::Punctuation)
            && self.bytes(text) == mark.as_bytes()
    }

    /// Whether it is a string constant accepted as `Sconst` by the grammar.
    pub fn is_string(&self) -> bool {
        matches!(
            self.kind,
            Kind::String | Kind::EscapeString | Kind::UnicodeString | Kind::DollarString
        )
    }
}

/// Rules that depend on server settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// `standard_conforming_strings`: if off, backslashes also escape in `'…'`.
    pub standard_conforming_strings: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Rules { standard_conforming_strings: true }
    }
}

/// The first token at or after byte `at`; None if only white space and comments are left.
pub fn token_at(text: &[u8], at: usize, rules: Rules) -> Option<Token> {
    let start = skip_space(text, at);
    let first = *text.get(start)?;
    let next = text.get(start + 1).copied();
    let (kind, end) = match first {
        b'"' => (Kind::QuotedIdentifier, quoted_end(text, start + 1, b'"', false)),
        b'\'' => {
            let backslash = !rules.standard_conforming_strings;
            (Kind::String, string_end(text, start + 1, backslash))
        }
        b'$' => dollar(text, start),
        b'0'..=b'9' => (Kind::Number, Some(number_end(text, start))),
        b'.' if matches!(next, Some(b'0'..=b'9')) => (Kind::Number, Some(number_end(text, start))),
        b'.' if next == Some(b'.') => (Kind::Operator, Some(start + 2)),
        b':' if matches!(next, Some(b':' | b'=')) => (Kind::Operator, Some(start + 2)),
        b',' | b'(' | b')' | b'[' | b']' | b'.' | b';' | b':' => {
            (Kind::Punctuation, Some(start + 1))
        }
        // white space has been skipped: this comment does not end
        b'/' if next == Some(b'*') => (Kind::Unterminated, None),
        _ if is_operator(first) => (Kind::Operator, Some(operator_end(text, start))),
        _ if starts_word(first) => prefixed(text, start, rules)
            .unwrap_or_else(|| (Kind::Word, Some(word_end(text, start)))),
        _ => (Kind::Unknown, Some(start + 1)),
    };
    Some(match end {
        Some(end) => Token { kind, start, end },
        None => Token { kind: Kind::Unterminated, start, end: text.len() },
    })
}

/// All tokens of a text, in order.
pub fn tokens(text: &[u8], rules: Rules) -> impl Iterator<Item = Token> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let token = token_at(text, at, rules)?;
        at = token.end;
        Some(token)
    })
}

/// Offset after the closing quote; `at` is after the opening one. A doubled quote is part of the text. None if there is
/// no closing quote.
pub fn quoted_end(text: &[u8], mut at: usize, quote: u8, backslash: bool) -> Option<usize> {
    loop {
        match *text.get(at)? {
            b'\\' if backslash => at += 2,
            byte if byte == quote => {
                if text.get(at + 1) != Some(&quote) {
                    return Some(at + 1);
                }
                at += 2;
            }
            _ => at += 1,
        }
    }
}

/// Like [`quoted_end`] for strings, which may continue after a line break: `'a'⏎'b'` is one constant.
fn string_end(text: &[u8], mut at: usize, backslash: bool) -> Option<usize> {
    loop {
        let end = quoted_end(text, at, b'\'', backslash)?;
        match space::continuation(text, end) {
            Some(next) => at = next,
            None => return Some(end),
        }
    }
}

/// Like [`string_end`] for bit and hexadecimal strings, in which doubled quotes are not special.
fn digits_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let end = at + text.get(at..)?.iter().position(|&byte| byte == b'\'')? + 1;
        match space::continuation(text, end) {
            Some(next) => at = next,
            None => return Some(end),
        }
    }
}

/// Strings and identifiers with prefixes: `E''`, `B''`, `X''`, `N''`, `U&''`, `U&""`.
fn prefixed(text: &[u8], start: usize, rules: Rules) -> Option<(Kind, Option<usize>)> {
    let second = *text.get(start + 1)?;
    let backslash = !rules.standard_conforming_strings;
    match (text[start].to_ascii_lowercase(), second) {
        (b'e', b'\'') => Some((Kind::EscapeString, string_end(text, start + 2, true))),
        (b'b', b'\'') => Some((Kind::BitString, digits_end(text, start + 2))),
        (b'x', b'\'') => Some((Kind::HexString, digits_end(text, start + 2))),
        (b'n', b'\'') => Some((Kind::NationalString, string_end(text, start + 2, backslash))),
        (b'u', b'&') => match text.get(start + 2)? {
            b'\'' => Some((Kind::UnicodeString, string_end(text, start + 3, false))),
            b'"' => Some((Kind::UnicodeIdentifier, quoted_end(text, start + 3, b'"', false))),
            _ => None,
        },
        _ => None,
    }
}

/// `$1`, `$$…$$`, `$tag$…$tag$` or a single `$`.
fn dollar(text: &[u8], start: usize) -> (Kind, Option<usize>) {
    let rest = &text[start + 1..];
    if rest.first().is_some_and(u8::is_ascii_digit) {
        return (Kind::Parameter, Some(while_true(text, start + 1, |byte| byte.is_ascii_digit())));
    }
    let starts_tag = rest.first().is_some_and(|&byte| starts_word(byte));
    let tag = if starts_tag {
        while_true(text, start + 1, |byte| starts_word(byte) || byte.is_ascii_digit())
    } else {
        start + 1
    };
    if text.get(tag) != Some(&b'$') {
        return (Kind::Unknown, Some(start + 1));
    }
    let delimiter = &text[start..=tag];
    (Kind::DollarString, dollar_end(text, tag + 1, delimiter))
}

/// Offset after the closing delimiter (`$tag$`), searched from `at`.
fn dollar_end(text: &[u8], mut at: usize, delimiter: &[u8]) -> Option<usize> {
    loop {
        at += text.get(at..)?.iter().position(|&byte| byte == b'$')?;
        if text[at..].starts_with(delimiter) {
            return Some(at + delimiter.len());
        }
        at += 1;
    }
}

fn number_end(text: &[u8], start: usize) -> usize {
    let digits = |at| while_true(text, at, |byte| byte.is_ascii_digit() || byte == b'_');
    let mut end = digits(start);
    // not the first dot of `1..2`
    if text.get(end) == Some(&b'.') && text.get(end + 1) != Some(&b'.') {
        end = digits(end + 1);
    }
    if matches!(text.get(end), Some(b'e' | b'E'))
        && matches!(text.get(end + 1), Some(b'+' | b'-'))
        && text.get(end + 2).is_some_and(u8::is_ascii_digit)
    {
        end = digits(end + 2);
    }
    // letters of `0x1f` and `1e5`, or junk; a dollar sign starts no junk
    if text.get(end).is_some_and(|&byte| starts_word(byte)) { word_end(text, end) } else { end }
}

/// The longest run of operator characters, ending before a comment; a trailing `+` or `-` belongs to the next token,
/// unless the run contains a character that no standard operator has.
fn operator_end(text: &[u8], start: usize) -> usize {
    let mut end = start + 1;
    while text.get(end).is_some_and(|&byte| is_operator(byte)) {
        if text[end..].starts_with(b"--") || text[end..].starts_with(b"/*") {
            break;
        }
        end += 1;
    }
    let special = text[start..end].iter().any(|byte| b"~!@#^&|`?%".contains(byte));
    while !special && end > start + 1 && matches!(text[end - 1], b'+' | b'-') {
        end -= 1;
    }
    end
}

fn word_end(text: &[u8], start: usize) -> usize {
    while_true(text, start, |byte| starts_word(byte) || byte.is_ascii_digit() || byte == b'$')
}

fn while_true(text: &[u8], start: usize, accept: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    start + rest.iter().position(|&byte| !accept(byte)).unwrap_or(rest.len())
}

fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_operator(byte: u8) -> bool {
    b"~!@#^&|`?+-*/%<>=".contains(&byte)
}
