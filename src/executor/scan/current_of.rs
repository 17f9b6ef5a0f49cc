//! The text of a statement with WHERE CURRENT OF, for the session in which its cursor is open.

use super::NodeScan;
use crate::catalog::NodeId;
use crate::error::{Error, Result};
use crate::pg::exec::custom_scan::ScanContext;
use crate::pg::exec::open_cursors::{self, Named};
use crate::pg::tree::cursor_name::PLACE;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::borrow::Cow;

impl NodeScan {
    /// The text to be sent to `node`.
    ///
    /// Errors: those of [`name_there`].
    pub(super) fn text<'a>(
        &mut self,
        context: &'a ScanContext,
        node: NodeId,
    ) -> Result<Cow<'a, [u8]>> {
        let sql = context.plan().sql();
        let Some(name) = context.cursor_name()? else { return Ok(Cow::Borrowed(sql)) };
        let there = name_there(&name, node)?;
        let place = [b"\"", PLACE.to_bytes(), b"\""].concat();
        let text = replaced(sql, &place, there.as_bytes());
        self.current_of = Some((there, name));
        Ok(Cow::Owned(text))
    }

    /// An error of the node, which names the cursor as it is called here.
    pub(super) fn with_own_names(&self, mut error: Error) -> Error {
        if let Some((there, here)) = &self.current_of {
            let fields = error.fields_mut();
            fields.map_texts(|text| replaced(text, there.as_bytes(), here.as_bytes()));
        }
        error
    }
}

/// The name of a cursor on `node`.
///
/// Errors: 34000, 24000 as PostgreSQL's for a name that is not that of a cursor on rows; 0A000 for a cursor that is not open in
/// the session in which a statement runs there.
fn name_there(name: &str, node: NodeId) -> Result<String> {
    let state = |what: &str| {
        Error::new(Code::ERRCODE_INVALID_CURSOR_STATE, format!("cursor \"{name}\" {what}"))
    };
    let scan = match open_cursors::find::<NodeScan>(name) {
        Named::Nothing => {
            let message = format!("cursor \"{name}\" does not exist");
            return Err(Error::new(Code::ERRCODE_INVALID_CURSOR_NAME, message));
        }
        Named::NoSelect => return Err(state("is not a SELECT query")),
        Named::Held => return Err(state("is held from a previous transaction")),
        Named::Here => return Err(elsewhere(name)),
        Named::OnNode(scan) => scan,
    };
    let there = scan.cursor.as_ref().map(|open| open.name_in_session(node)).transpose()?.flatten();
    there.map(str::to_owned).ok_or_else(|| elsewhere(name))
}

fn elsewhere(name: &str) -> Error {
    Error::new(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot change the current row of cursor \"{name}\" on a node"),
    )
    .detail("The cursor is not open in the session with the node in which the statement runs: its rows come from other places as well, or it was opened with other privileges.")
    .hint("Identify the row by its key instead.")
}

/// A text with every `place` replaced.
fn replaced(text: &[u8], place: &[u8], name: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(place.len()).position(|found| found == place) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(name);
        rest = &rest[at + place.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn names_are_put_into_the_text() {
        assert_eq!(replaced(b"a X b X", b"X", b"c"), b"a c b c");
        assert_eq!(replaced(b"", b"X", b"y"), b"");
    }
}
