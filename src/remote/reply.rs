//! What a node reports: errors and notices as [`Error`] with every field, and the severity.

use crate::error::{Error, Fields, pack_sqlstate};
use pgrx::PgLogLevel;

/// An ErrorResponse or NoticeResponse.
#[derive(Debug)]
pub struct Report {
    /// The level as the server knows it.
    pub level: PgLogLevel,
    /// All fields.
    pub error: Error,
}

impl Report {
    /// From a message's body: fields of a type byte and a NUL-terminated text, ended by a NUL.
    pub fn parse(body: &[u8]) -> Self {
        let mut fields = Fields { sqlstate: pack_sqlstate(b"XX000"), ..Fields::default() };
        let mut level = PgLogLevel::ERROR;
        let mut rest = body;
        while let Some((kind @ 1..=u8::MAX, tail)) = rest.split_first() {
            let end = tail.iter().position(|&b| b == 0).unwrap_or(tail.len());
            let value = &tail[..end];
            let text = || Some(value.to_vec());
            let number = || std::str::from_utf8(value).ok()?.parse().ok();
            match kind {
                b'V' => level = severity(value),
                b'C' => fields.sqlstate = pack_sqlstate(value),
                b'M' => fields.message = value.to_vec(),
                b'D' => fields.detail = text(),
                b'H' => fields.hint = text(),
                b'W' => fields.context = text(),
                b's' => fields.schema = text(),
                b't' => fields.table = text(),
                b'c' => fields.column = text(),
                b'd' => fields.data_type = text(),
                b'n' => fields.constraint = text(),
                b'P' => fields.position = number(),
                b'p' => fields.internal_position = number(),
                b'q' => fields.internal_query = text(),
                b'F' => fields.file = text(),
                b'L' => fields.line = number(),
                b'R' => fields.routine = text(),
                _ => {} // the localised severity, and fields of protocols to come
            }
            rest = tail.get(end + 1..).unwrap_or_default();
        }
        Self { level, error: Error::from_fields(fields) }
    }

    /// Whether the node ends the connection with this.
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
        let report = Report::parse(body);
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
        let seen: Vec<u8> = texts
            .into_iter()
            .chain([&f.constraint, &f.file, &f.routine])
            .flatten()
            .flatten()
            .copied()
            .collect();
        assert_eq!(
            (f.message.as_slice(), seen.as_slice()),
            (b"m".as_slice(), b"dhqwstcdnfr".as_slice())
        );
    }

    #[test]
    fn a_broken_report_is_still_an_error() {
        assert_eq!(Report::parse(b"").error.sqlstate(), "XX000");
        assert!(Report::parse(b"VFATAL\0Mgone").is_fatal());
    }
}
