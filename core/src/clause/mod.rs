//! The clause `DISTRIBUTED [ON NODE node] [WITH (option = value, …)]` of CREATE SCHEMA.
//!
//! Job: find the clause, read it, and take it out of a text that stock PostgreSQL is to parse.
//! Invariant: a text that stock PostgreSQL accepts is never changed, and a text is accepted after
//! [`after_schema`] and [`blank`] only if [`read`] gives its clause: a malformed clause always ends
//! in the server's own syntax error.
//! Locks: none; the whole folder is pure.
//!
//! ```text
//! CREATE SCHEMA [IF NOT EXISTS] name [AUTHORIZATION role] DISTRIBUTED … [schema elements]
//! CREATE SCHEMA [IF NOT EXISTS] AUTHORIZATION role DISTRIBUTED … [schema elements]
//!
//! node    an identifier in any spelling (`n1`, `"node-1"`, `U&"…" [UESCAPE '…']`)
//! option  an identifier
//! value   a word, a string constant in any spelling, or a number with an optional sign
//! ```
//!
//! AUTHORIZATION may also stand behind the clause: with the clause gone, the server sees one
//! ordinary statement in either case.

mod parser;

#[cfg(test)]
mod tests;

use crate::lex::{self, Rules};
use parser::Parser;
use std::ops::Range;

/// The clause as parsed by [`read`]. Positions are byte offsets in the statement's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// From the word DISTRIBUTED to the end of the last part.
    pub range: Range<usize>,
    /// The name after ON NODE.
    pub node: Option<Name>,
    /// The options in WITH, in order; a name may occur twice (the caller decides what that means).
    pub options: Vec<ClauseOption>,
}

/// A name or value and its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Unquoted, case-folded and truncated to 63 bytes as in PostgreSQL.
    pub text: String,
    /// Byte offset in the statement's text.
    pub position: usize,
}

/// One `option = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClauseOption {
    /// The option's name.
    pub name: Name,
    /// The value: a word folded to lower case, a number as written, a string's content.
    pub value: Name,
}

/// A malformed clause (SQLSTATE 42601).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClauseError {
    /// The error message in PostgreSQL's wording.
    pub message: String,
    /// What was expected there.
    pub hint: String,
    /// Byte offset of the error in the statement's text.
    pub position: usize,
}

/// Parses the clause of one statement, `CREATE SCHEMA …`, from the statement's own text, which may start with white
/// space, comments and empty statements. None for another statement, or one without the clause. Text after the clause
/// is left to the server.
pub fn read(statement: &[u8]) -> Result<Option<Clause>, ClauseError> {
    let mut parser = Parser::new(statement, lex::statement_start(statement));
    if !(parser.keyword("create") && parser.keyword("schema")) {
        return Ok(None);
    }
    if parser.head().is_none() {
        return Ok(None);
    }
    parser.clause().map(Some).map_err(|fault| fault.into_error(statement))
}

/// Which bytes behind the words CREATE SCHEMA must be blanked so that the stock grammar takes the
/// statement. `held` is the byte right behind SCHEMA (None: not known, since the scanner has put a
/// NUL there); `rest` is the text behind that byte, and the range counts from its start. The text
/// may go on with other statements.
///
/// None: no clause, leave the text alone. That is also so where the byte behind SCHEMA is not known
/// and may have been a double quote.
///
/// Of a malformed clause the range holds what can be read, so that the server complains at the
/// first token that is wrong: `DISTRIBUTED ON NOD n1` gives `syntax error at or near "NOD"`. If the
/// server would take that token (the end, `;`, CREATE, GRANT, AUTHORIZATION), the last token that
/// could be read stays too, and gets the error.
///
/// An operator or bracket directly behind the word DISTRIBUTED means that it is a column's name:
/// `UPDATE s.create schema SET distributed = 1` is a statement of stock PostgreSQL.
pub fn after_schema(held: Option<u8>, rest: &[u8]) -> Option<Range<usize>> {
    let mut parser = resume(held, rest)?;
    let start = parser.head()?;
    if let Some(next) = parser.peek()
        && !matches!(next.kind, lex::Kind::Word)
        && !next.is_mark(rest, ";")
    {
        return None;
    }
    match parser.clause() {
        Ok(clause) => Some(clause.range),
        Err(fault) => {
            let end = fault.readable_end(rest);
            (end > start).then_some(start..end)
        }
    }
}

/// A parser positioned after the byte that follows SCHEMA.
fn resume(held: Option<u8>, rest: &[u8]) -> Option<Parser<'_>> {
    let next = rest.first().copied();
    let byte = match held {
        Some(byte) => byte,
        // a quoted name would be read from its middle
        None if rest.contains(&b'"') => return None,
        None if next == Some(b'*') => b'/',
        None if next == Some(b'-') => b'-',
        None => b' ',
    };
    match byte {
        b'"' => {
            let end = lex::quoted_end(rest, 0, b'"', false)?;
            Some(Parser::behind_name(rest, end))
        }
        b'/' if next == Some(b'*') => Some(Parser::new(rest, lex::block_comment_end(rest, 1)?)),
        b'-' if next == Some(b'-') => {
            let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
            Some(Parser::new(rest, end))
        }
        byte if lex::is_space(byte) => Some(Parser::new(rest, 0)),
        _ => None,
    }
}

/// Takes a clause (a range of [`after_schema`]) out of a text in place, without changing the number
/// of bytes or of characters in any server encoding, so that the position of every later error
/// stays right: spaces, or a comment that holds the multi-byte characters. Line breaks stay where
/// no such character is.
pub fn blank(clause: &mut [u8]) {
    let wide: Vec<u8> = clause.iter().copied().filter(|byte| !byte.is_ascii()).collect();
    for byte in clause.iter_mut() {
        if !wide.is_empty() || !matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    // the word DISTRIBUTED alone is wider than the comment's marks
    let length = clause.len();
    if !wide.is_empty() && length >= wide.len() + 4 {
        clause[..2].copy_from_slice(b"/*");
        clause[2..2 + wide.len()].copy_from_slice(&wide);
        clause[length - 2..].copy_from_slice(b"*/");
    }
}

const RULES: Rules = Rules { standard_conforming_strings: true };
