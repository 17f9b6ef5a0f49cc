//! A `search_path` that users cannot override, here and on nodes.

use super::client_settings::note_change;
use crate::pg::session::own_settings::OwnSettings;

/// Until it is dropped, names refer to PostgreSQL's own functions and operators, here and in statements sent to nodes,
/// whose sessions follow when `search_path` is restored.
pub struct SafePath {
    _path: OwnSettings,
    _then: NoteChange,
}

/// Dropped after the path.
struct NoteChange;

impl Drop for NoteChange {
    fn drop(&mut self) {
        note_change();
    }
}

impl SafePath {
    /// Sets the `search_path`.
    pub fn begin() -> Self {
        note_change();
        Self { _path: OwnSettings::safe_path(), _then: NoteChange }
    }
}
