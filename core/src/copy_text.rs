//! Converts COPY statements on files or programs of the server to streams.
//!
//! `COPY t FROM '/file'` refers to a file on the server to which the client is connected, not on the node with the
//! table: the coordinator reads or writes it, and the node gets the same statement with STDIN or STDOUT instead.

use crate::lex::{self, Kind, Rules, Token};
use std::ops::Range;

/// Direction of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// COPY … FROM: into the table.
    In,
    /// COPY … TO: out of it.
    Out,
}

/// The streamed form of a COPY statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streamed {
    /// The statement with STDIN or STDOUT in place of the file or program; everything else is unchanged, except for a
    /// space where the word would be joined to the next one.
    pub text: Vec<u8>,
    /// Direction of the data.
    pub direction: Direction,
    /// The part of the statement that was replaced, for translating error positions.
    pub replaced: Range<usize>,
}

/// Converts one COPY statement, which may start with white space, comments and empty statements. None for another
/// statement, or a COPY that is already a stream.
pub fn streamed(statement: &[u8], rules: Rules) -> Option<Streamed> {
    let mut at = lex::statement_start(statement);
    let mut next = || {
        let token = lex::token_at(statement, at, rules)?;
        at = token.end;
        Some(token)
    };
    next().filter(|token| token.is_word(statement, "copy"))?;
    let mut depth = 0usize;
    // FROM and TO are reserved: outside of parentheses, the first one is COPY's own
    let direction = loop {
        let token = next()?;
        match token.bytes(statement) {
            b"(" | b"[" => depth += 1,
            b")" | b"]" => depth = depth.checked_sub(1)?,
            b";" if depth == 0 => return None,
            _ if depth > 0 => (),
            _ if token.is_word(statement, "from") => break Direction::In,
            _ if token.is_word(statement, "to") => break Direction::Out,
            _ => (),
        }
    };
    let first = next()?;
    let program = first.is_word(statement, "program");
    let source = if program { next()? } else { first };
    if !source.is_string() {
        return None;
    }
    let end = uescape_end(statement, source, rules);
    let stream: &[u8] = if direction == Direction::In { b"STDIN" } else { b"STDOUT" };
    let mut text = statement[..first.start].to_vec();
    // a string needs no space around it, a word does
    if text.last().is_some_and(u8::is_ascii_alphabetic) {
        text.push(b' ');
    }
    text.extend_from_slice(stream);
    let joins = |byte: &u8| byte.is_ascii_alphanumeric() || b"_$".contains(byte) || *byte >= 0x80;
    if statement.get(end).is_some_and(joins) {
        text.push(b' ');
    }
    text.extend_from_slice(&statement[end..]);
    Some(Streamed { text, direction, replaced: first.start..end })
}

/// End of a string, including its UESCAPE clause.
fn uescape_end(statement: &[u8], string: Token, rules: Rules) -> usize {
    let after = |end| lex::token_at(statement, end, rules);
    if string.kind == Kind::UnicodeString
        && let Some(word) = after(string.end).filter(|token| token.is_word(statement, "uescape"))
        && let Some(escape) = after(word.end).filter(Token::is_string)
    {
        return escape.end;
    }
    string.end
}

/// Formats a row in COPY's text format, with the line's end; None is NULL.
pub fn line(values: &[Option<String>]) -> String {
    let mut text = String::new();
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            text.push('\t');
        }
        let Some(value) = value else {
            text.push_str("\\N");
            continue;
        };
        for letter in value.chars() {
            match letter {
                '\\' => text.push_str("\\\\"),
                '\t' => text.push_str("\\t"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                other => text.push(other),
            }
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_written_as_copy_reads_them() {
        let values = ["a\tb", "\\N", "", "x\ny\r"].map(|text| Some(text.to_owned()));
        let [a, b, c, d] = values;
        assert_eq!(line(&[a, None, b, c, d]), "a\\tb\t\\N\t\\\\N\t\tx\\ny\\r\n");
        assert_eq!(line(&[]), "\n");
    }
    use crate::lex::tests::sql_bytes;
    use proptest::prelude::*;

    fn stream(statement: &str) -> Option<String> {
        let streamed = streamed(statement.as_bytes(), Rules::default())?;
        Some(String::from_utf8(streamed.text).unwrap())
    }

    #[test]
    fn files_and_programs() {
        for (statement, expected) in [
            ("COPY t FROM '/tmp/f'", "COPY t FROM STDIN"),
            ("copy t to '/tmp/f';", "copy t to STDOUT;"),
            ("copy t from program 'cat /f' csv", "copy t from STDIN csv"),
            ("copy t to/*x*/PROGRAM --c\n'it''s'with csv", "copy t to/*x*/STDOUT with csv"),
            ("copy t from'f'csv", "copy t from STDIN csv"),
            ("copy t from '/tmp/a'\n'b' csv", "copy t from STDIN csv"),
            ("copy t from E'\\'f' (format csv)", "copy t from STDIN (format csv)"),
            ("copy t from $$f$$ where a > 'from'", "copy t from STDIN where a > 'from'"),
            ("copy t from U&'!0041' uescape '!' csv", "copy t from STDIN csv"),
            ("copy (select 'to' from x) to 'f'", "copy (select 'to' from x) to STDOUT"),
            (
                "copy (select \"to\"[1] from x /* to 'x' */) to 'f' delimiter 'to'",
                "copy (select \"to\"[1] from x /* to 'x' */) to STDOUT delimiter 'to'",
            ),
            ("copy binary s.\"from\" (a, \"to\") from 'f'", {
                "copy binary s.\"from\" (a, \"to\") from STDIN"
            }),
            (" ;-- x\ncopy t from '\u{e9}' -- \u{e9}", " ;-- x\ncopy t from STDIN -- \u{e9}"),
        ] {
            assert_eq!(stream(statement).as_deref(), Some(expected), "{statement}");
        }
    }

    #[test]
    fn streams_and_other_statements_stay() {
        for statement in [
            "copy t from stdin",
            "copy t to STDOUT with (format csv, null 'x')",
            "copy t from program",
            "copy t from 'open",
            "copy t; select 1 from 'x'",
            "copy (select 1",
            "copy ) from 'x'",
            "copy",
            "select 1 from 'x'",
            "",
        ] {
            assert_eq!(stream(statement), None, "{statement}");
        }
    }

    #[test]
    fn backslashes_follow_the_setting() {
        let off = Rules { standard_conforming_strings: false };
        let streamed = streamed(br"copy t from 'a\' csv' csv", off).unwrap();
        assert_eq!(streamed.text, b"copy t from STDIN csv");
        assert_eq!(streamed.direction, Direction::In);
        assert_eq!(streamed.replaced, 12..21);
    }

    proptest! {
        #[test]
        fn any_bytes(head in sql_bytes(), tail in sql_bytes(), standard: bool) {
            let rules = Rules { standard_conforming_strings: standard };
            let statement =
                [b"copy ".as_slice(), &head, b" from 'f'", &tail].concat();
            if let Some(streamed) = streamed(&statement, rules) {
                // a stream is not streamed again
                prop_assert_eq!(super::streamed(&streamed.text, rules), None);
            }
            let _ = streamed(&head, rules).is_some();
        }
    }
}
