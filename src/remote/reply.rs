//! Errors and notices from a node, as [`Error`] with all fields, and their severity.

use crate::error::{Error, Fields, Result, pack_sqlstate};
use helios_core::frames::{FrameError, error_fields};
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;

/// Protocol violation (08P01): the node sent an invalid message.
pub fn malformed(error: FrameError) -> Error {
    Error::new(PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION, error.to_string())
}

/// An ErrorResponse or NoticeResponse.
#[derive(Debug)]
pub struct Report {
    /// The level, as an elevel of the server.
    pub level: PgLogLevel,
    /// All fields.
    pub error: Error,
}

impl Report {
    /// Parses a message's body. 08P01 if it is invalid.
    pub fn parse(body: &[u8]) -> Result<Self> {
        let f = error_fields(body).map_err(|e| {
            Error::new(PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION, format!("from a node: {e}"))
        })?;
        let text = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let number = |n: Option<u32>| n.and_then(|n| i32::try_from(n).ok());
        let fields = Fields {
            sqlstate: pack_sqlstate(f.code.unwrap_or(b"XX000")),
            message: f.message.unwrap_or_default().to_vec(),
            detail: text(f.detail),
            hint: text(f.hint),
            context: text(f.context),
            schema: text(f.schema),
            table: text(f.table),
            column: text(f.column),
            data_type: text(f.data_type),
            constraint: text(f.constraint),
            position: number(f.position),
            internal_position: number(f.internal_position),
            internal_query: text(f.internal_query),
            file: text(f.file),
            line: number(f.line),
            routine: text(f.routine),
        };
        let level = severity(f.severity_nonlocalized.unwrap_or_default());
        Ok(Self { level, error: Error::from_fields(fields) })
    }

    /// Whether the node closes the connection after this.
    pub fn is_fatal(&self) -> bool {
        self.level as i32 > PgLogLevel::ERROR as i32
    }
}

fn severity(word: &[u8]) -> PgLogLevel {
    match word {
        b"DEBUG" => PgLogLevel::DEBUG1,
        b"LOG" => PgLogLevel::LOG,
        b"INFO" => PgLogLevel::INFO,
        b"NOTICE" => PgLogLevel::NOTICE,
        b"WARNING" => PgLogLevel::WARNING,
        b"FATAL" => PgLogLevel::FATAL,
        b"PANIC" => PgLogLevel::PANIC,
        _ => PgLogLevel::ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_kept() {
        let body = b"SFEHLER\0VERROR\0C23505\0Mm\0Dd\0Hh\0P7\0p8\0qq\0Ww\0ss\0tt\0cc\0dd\0nn\0Ff\0L9\0Rr\0\0";
        let report = Report::parse(body).unwrap();
        let f = report.error.fields();
        assert_eq!(report.error.sqlstate(), "23505");
        assert!(!report.is_fatal());
        assert_eq!((f.position, f.internal_position, f.line), (Some(7), Some(8), Some(9)));
        let texts = [
            &f.detail,
            &f.hint,
            &f.internal_query,
            &f.context,
            &f.schema,
            &f.table,
            &f.column,
            &f.data_type,
        ];
        let client_context: Vec<u8> = texts
            .into_iter()
            .chain([&f.constraint, &f.file, &f.routine])
            .flatten()
            .flatten()
            .copied()
            .collect();
        assert_eq!(
            (f.message.as_slice(), client_context.as_slice()),
            (b"m".as_slice(), b"dhqwstcdnfr".as_slice())
        );
    }

    #[test]
    fn a_broken_report_is_an_error_of_the_protocol() {
        assert_eq!(Report::parse(b"").unwrap_err().sqlstate(), "08P01");
        assert!(Report::parse(b"VFATAL\0Mgone\0\0").unwrap().is_fatal());
    }
}
