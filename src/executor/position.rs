//! Positions in errors: a node counts in the text that it was sent.

use crate::error::Error;

/// Moves an error's position from the text that was sent to the client's text, or names the text that was sent.
pub fn relocate(mut error: Error, offset: Option<i32>, sql: &[u8]) -> Error {
    let fields = error.fields_mut();
    if let Some(position) = fields.position.take() {
        match offset {
            Some(offset) => fields.position = Some(position + offset),
            None => {
                fields.internal_position = Some(position);
                fields.internal_query = Some(sql.to_vec());
            }
        }
    }
    error
}
