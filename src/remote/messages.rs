//! Protocol messages to a node, written directly into the output buffer. Texts are in the database's encoding, so the
//! functions of `postgres-protocol` (UTF-8 only) cannot be used.

use crate::error::{Error, Result};
use crate::pg::exec::result_columns::ResultColumns;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;

/// A parameter value of a statement.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    /// Binary or text format.
    pub binary: bool,
    /// The value, or NULL.
    pub bytes: Option<&'a [u8]>,
}

/// A statement with its parameters.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// One statement's text.
    pub sql: &'a [u8],
    /// Type OIDs of the parameters on the node; 0 or missing to let the node infer the type.
    pub types: &'a [u32],
    /// Parameter values.
    pub values: &'a [Value<'a>],
    /// Formats of the result columns as in Bind: none, one for all, or one each.
    pub result_formats: &'a [i16],
    /// Worth preparing on the node from its second use on.
    pub reuse: bool,
    /// The expected result columns.
    pub columns: ResultColumns,
}

impl<'a> Statement<'a> {
    /// A statement without parameters that is executed once, with results as text.
    pub fn plain(sql: &'a [u8]) -> Self {
        Self {
            sql,
            types: &[],
            values: &[],
            result_formats: &[],
            reuse: false,
            columns: ResultColumns::default(),
        }
    }
}

/// Writes one message; `body` appends to the buffer.
fn message(
    out: &mut Vec<u8>,
    kind: u8,
    body: impl FnOnce(&mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    out.push(kind);
    let at = out.len();
    out.extend([0; 4]);
    body(out)?;
    let length = i32::try_from(out.len() - at).map_err(|_| {
        Error::new(PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED, "message to a node exceeds 2 GB")
    })?;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn text(out: &mut Vec<u8>, text: &[u8]) -> Result<()> {
    if text.contains(&0) {
        return Err(Error::new(
            PgSqlErrorCode::ERRCODE_SYNTAX_ERROR,
            "text sent to a node contains a NUL byte",
        ));
    }
    out.extend_from_slice(text);
    out.push(0);
    Ok(())
}

fn count(out: &mut Vec<u8>, n: usize, what: &str) -> Result<()> {
    let n = u16::try_from(n).map_err(|_| {
        Error::new(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!("statement has more than 65535 {what}"),
        )
    })?;
    out.extend(n.to_be_bytes());
    Ok(())
}

/// Parse: creates a prepared statement (empty name: the unnamed one).
pub fn parse(out: &mut Vec<u8>, name: &[u8], sql: &[u8], types: &[u32]) -> Result<()> {
    message(out, b'P', |out| {
        text(out, name)?;
        text(out, sql)?;
        count(out, types.len(), "parameters")?;
        out.extend(types.iter().flat_map(|t| t.to_be_bytes()));
        Ok(())
    })
}

/// Bind: creates a portal.
pub fn bind(
    out: &mut Vec<u8>,
    portal: &[u8],
    name: &[u8],
    values: &[Value<'_>],
    formats: &[i16],
) -> Result<()> {
    message(out, b'B', |out| {
        text(out, portal)?;
        text(out, name)?;
        if values.iter().any(|v| v.binary) {
            count(out, values.len(), "parameters")?;
            out.extend(values.iter().flat_map(|v| u16::from(v.binary).to_be_bytes()));
        } else {
            count(out, 0, "parameters")?;
        }
        count(out, values.len(), "parameters")?;
        for value in values {
            match value.bytes {
                Some(bytes) => {
                    let length = i32::try_from(bytes.len()).map_err(|_| {
                        Error::new(
                            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                            "parameter exceeds 2 GB",
                        )
                    })?;
                    out.extend(length.to_be_bytes());
                    out.extend_from_slice(bytes);
                }
                None => out.extend((-1i32).to_be_bytes()),
            }
        }
        count(out, formats.len(), "columns")?;
        out.extend(formats.iter().flat_map(|f| f.to_be_bytes()));
        Ok(())
    })
}

/// Describe of a statement (`S`) or portal (`P`).
pub fn describe(out: &mut Vec<u8>, what: u8, name: &[u8]) -> Result<()> {
    message(out, b'D', |out| {
        out.push(what);
        text(out, name)
    })
}

/// Execute: up to `rows` rows of a portal (0: all).
pub fn execute(out: &mut Vec<u8>, portal: &[u8], rows: u32) -> Result<()> {
    message(out, b'E', |out| {
        text(out, portal)?;
        out.extend(i32::try_from(rows).unwrap_or(i32::MAX).to_be_bytes());
        Ok(())
    })
}

/// Close of a statement (`S`) or portal (`P`); it is not an error if it does not exist.
pub fn close(out: &mut Vec<u8>, what: u8, name: &[u8]) -> Result<()> {
    message(out, b'C', |out| {
        out.push(what);
        text(out, name)
    })
}

/// A statement in a pipeline whose rows are ignored.
pub fn command(out: &mut Vec<u8>, sql: &[u8]) -> Result<()> {
    parse(out, b"", sql, &[])?;
    bind(out, b"", b"", &[], &[])?;
    execute(out, b"", 0)
}

/// Query: the simple protocol, possibly several statements.
pub fn query(out: &mut Vec<u8>, sql: &[u8]) -> Result<()> {
    message(out, b'Q', |out| text(out, sql))
}

/// CopyData, of any length below 1 GB.
pub fn copy_data(out: &mut Vec<u8>, data: &[u8]) -> Result<()> {
    message(out, b'd', |out| {
        out.extend_from_slice(data);
        Ok(())
    })
}

/// CopyFail with a reason.
pub fn copy_fail(out: &mut Vec<u8>, reason: &str) -> Result<()> {
    let reason: Vec<u8> = reason.bytes().filter(|&b| b != 0).collect();
    message(out, b'f', |out| text(out, &reason))
}

/// A message without a body: Sync `S`, Flush `H`, CopyDone `c`, Terminate `X`.
pub fn bare(out: &mut Vec<u8>, kind: u8) {
    out.extend([kind, 0, 0, 0, 4]);
}

/// An `E'…'` literal, which is independent of `standard_conforming_strings`.
pub fn literal(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(b" E'");
    for &byte in value {
        if byte == b'\'' || byte == b'\\' {
            out.push(byte);
        }
        out.push(byte);
    }
    out.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bind_has_formats_only_when_something_is_binary() {
        let mut out = Vec::new();
        let values =
            [Value { binary: false, bytes: Some(b"1") }, Value { binary: false, bytes: None }];
        bind(&mut out, b"", b"s", &values, &[1]).unwrap();
        assert_eq!(
            out,
            [
                b"B\0\0\0\x18".as_slice(),
                b"\0",
                b"s\0",
                &[0, 0],
                &[0, 2],
                &[0, 0, 0, 1],
                b"1",
                &[255; 4],
                &[0, 1],
                &[0, 1]
            ]
            .concat()
        );
    }

    #[test]
    fn a_nul_byte_cannot_cut_a_statement_short() {
        assert_eq!(
            parse(&mut Vec::new(), b"", b"drop\0table", &[]).unwrap_err().sqlstate(),
            "42601"
        );
    }

    #[test]
    fn literals_escape_quotes_and_backslashes() {
        let mut out = Vec::new();
        literal(&mut out, br"it's \ here");
        assert_eq!(out, br" E'it''s \\ here'");
    }
}
