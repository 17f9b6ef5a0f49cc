//! The extension's only error type: all fields of a PostgreSQL error as plain data.
//!
//! Functions return `Err(Error)`; only the trampolines in `pg/error.rs` raise it, so that a node's error reaches the
//! client with all its fields.

use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::fmt;

/// Result type of all fallible functions of the extension.
pub type Result<T> = std::result::Result<T, Error>;

/// A PostgreSQL error that has not been raised yet. Texts are in the database's encoding.
#[derive(Debug, Clone)]
pub struct Error(Box<Fields>);

/// The fields of an error report, named as in the message formats of the frontend/backend protocol.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    /// SQLSTATE, packed as `MAKE_SQLSTATE` does (six bits a character).
    pub sqlstate: i32,
    /// Primary message.
    pub message: Vec<u8>,
    /// Detail message.
    pub detail: Option<Vec<u8>>,
    /// Hint message.
    pub hint: Option<Vec<u8>>,
    /// Where it happened, innermost first, one line each.
    pub context: Option<Vec<u8>>,
    /// Schema of the object the error is about.
    pub schema: Option<Vec<u8>>,
    /// Table of the object the error is about.
    pub table: Option<Vec<u8>>,
    /// Column the error is about.
    pub column: Option<Vec<u8>>,
    /// Data type the error is about.
    pub data_type: Option<Vec<u8>>,
    /// Constraint the error is about.
    pub constraint: Option<Vec<u8>>,
    /// Cursor position in the client's query: characters, from 1.
    pub position: Option<i32>,
    /// Cursor position in `internal_query`: characters, from 1.
    pub internal_position: Option<i32>,
    /// Text of an internally generated query.
    pub internal_query: Option<Vec<u8>>,
    /// Source file that raised the error.
    pub file: Option<Vec<u8>>,
    /// Line in that file.
    pub line: Option<i32>,
    /// Function that raised the error.
    pub routine: Option<Vec<u8>>,
}

impl Fields {
    /// Applies a conversion to all texts.
    pub fn map_texts(&mut self, change: impl Fn(&[u8]) -> Vec<u8>) {
        self.message = change(&self.message);
        let texts = [
            &mut self.detail,
            &mut self.hint,
            &mut self.context,
            &mut self.schema,
            &mut self.table,
            &mut self.column,
            &mut self.data_type,
            &mut self.constraint,
            &mut self.internal_query,
        ];
        for text in texts.into_iter().flatten() {
            *text = change(text);
        }
    }
}

impl Error {
    /// Creates an error of Helios.
    pub fn new(code: PgSqlErrorCode, message: impl Into<Vec<u8>>) -> Self {
        Self(Box::new(Fields {
            sqlstate: code as i32,
            message: message.into(),
            ..Fields::default()
        }))
    }

    /// Creates an error from fields received from a node.
    pub fn from_fields(fields: Fields) -> Self {
        Self(Box::new(fields))
    }

    /// Sets the detail message.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Vec<u8>>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Sets the hint message.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Vec<u8>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds a line to the context, outermost last.
    #[must_use]
    pub fn context(mut self, line: impl Into<Vec<u8>>) -> Self {
        let line = line.into();
        match &mut self.0.context {
            Some(context) => {
                context.push(b'\n');
                context.extend(line);
            }
            none => *none = Some(line),
        }
        self
    }

    /// Sets the cursor position in the client's query (characters, from 1).
    #[must_use]
    pub fn position(mut self, position: i32) -> Self {
        self.0.position = Some(position);
        self
    }

    /// All fields.
    pub fn fields(&self) -> &Fields {
        &self.0
    }

    /// All fields, mutable.
    pub fn fields_mut(&mut self) -> &mut Fields {
        &mut self.0
    }

    /// The five characters of the SQLSTATE.
    pub fn sqlstate(&self) -> String {
        (0..5).map(|i| char::from(((self.0.sqlstate >> (6 * i)) & 63) as u8 + b'0')).collect()
    }

    /// Whether the SQLSTATE belongs to the two-character class.
    pub fn is_class(&self, class: &str) -> bool {
        self.sqlstate().starts_with(class)
    }

    /// Whether the SQLSTATE is this one.
    pub fn is(&self, code: PgSqlErrorCode) -> bool {
        self.0.sqlstate == code as i32
    }
}

/// Packs the five characters of a SQLSTATE as PostgreSQL's `MAKE_SQLSTATE` does.
pub fn pack_sqlstate(code: &[u8]) -> i32 {
    code.iter()
        .take(5)
        .enumerate()
        .map(|(i, &c)| (i32::from(c.wrapping_sub(b'0')) & 63) << (6 * i))
        .sum()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.0.message))?;
        if let Some(detail) = &self.0.detail {
            write!(f, " ({})", String::from_utf8_lossy(detail))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Capitalizes the first letter of a text: details and hints are sentences, messages are not.
pub fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
