//! A `search_path` that no user can shadow, here and on nodes.

use super::client_settings::note_change;
use crate::pg::session::own_settings::OwnSettings;

/// Until dropped, names mean PostgreSQL's own functions and operators, here and in what is sent to nodes, whose sessions
/// follow the `search_path` back afterwards.
pub struct SafePath {
    _path: OwnSettings,
    _then: NoteChange,
}

/// Dropped behind the path.
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
