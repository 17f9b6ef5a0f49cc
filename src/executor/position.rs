//! Error positions: a node counts characters in the text that it received.

use crate::error::Error;

/// Translates an error's position to the client's text, or adds the text that was sent to the error's context.
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
