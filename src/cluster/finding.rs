//! The result of one check of a node.

use crate::error::Error;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Result of one check of a node, as `helios_check_cluster` shows it.
pub struct Finding {
    /// Name of the check.
    pub check: &'static str,
    /// Whether the check passed.
    pub ok: bool,
    /// What was found.
    pub detail: Option<String>,
    /// How to fix the problem; None if the check passed.
    pub remedy: Option<String>,
}

impl Finding {
    pub(crate) fn new(check: &'static str, ok: bool, detail: String, remedy: &str) -> Self {
        let remedy = (!ok).then(|| remedy.to_owned());
        Self { check, ok, detail: Some(detail), remedy }
    }

    /// Converts the finding to an error about a server that cannot become a node.
    pub fn into_error(self, node: &str) -> Error {
        let message = format!("cannot add node \"{node}\": {} check failed", self.check);
        let error = Error::new(Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message);
        let error = error.detail(self.detail.unwrap_or_default());
        error.hint(self.remedy.unwrap_or_default())
    }
}
