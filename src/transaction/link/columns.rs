//! Compares a node's result columns with those described to the client.

use super::*;
use crate::pg::catalog::types;
use helios_core::frames::{ColumnsDigest, described_columns};

impl Link {
    /// Checks the node's row description: different columns fail the statement before its first row is read.
    pub(super) fn check_columns(&mut self, description: &Frame) {
        let columns = if description.kind == b'n' {
            Some(Vec::new())
        } else {
            described_columns(description).and_then(Iterator::collect).ok()
        };
        let expected = std::mem::take(&mut self.request.columns);
        let mut digest = ColumnsDigest::default();
        for (name, of_type) in columns.iter().flatten() {
            digest.add(name, *of_type);
        }
        if columns.is_some() && description.kind == b'T' && digest.finish() == expected {
            return;
        }
        if let Some(Sent { key, .. }) = self.request.statement.take() {
            self.statements.forget(key);
        }
        let said = match columns {
            Some(columns) => {
                let columns: Vec<String> = columns.iter().map(|&(n, t)| column(n, t)).collect();
                format!("The node returns ({}).", columns.join(", "))
            }
            None => "The row description sent by the node is malformed.".to_owned(),
        };
        let mut error = self.other_columns(&said);
        // It has run nevertheless, in the round trip in which it was described.
        if self.request.autocommit && self.request.writes {
            error = error.detail(format!(
                "{said} Changes made by the statement have been committed on the node."
            ));
        }
        self.request.failed.get_or_insert(error);
    }

    /// The error for a result that does not match its description.
    pub(super) fn other_columns(&self, said: &str) -> Error {
        let node = &self.node.name;
        Error::new(
            PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
            format!("result columns from node \"{node}\" do not match the local definitions"),
        )
        .detail(said)
        .hint("To see which definitions differ, run SELECT * FROM helios_check_cluster().")
    }
}

/// Formats a node's message as a sentence.
pub(super) fn sentence(message: &str) -> String {
    format!("{}.", crate::error::capitalized(message))
}

/// Name and type of a column, if the type has the same OID on every server.
fn column(name: &[u8], of_type: u32) -> String {
    let name = String::from_utf8_lossy(name);
    match types::pinned_name(of_type) {
        Some(of_type) => format!("{name} {of_type}"),
        None => format!("{name} of a user-defined type"),
    }
}
