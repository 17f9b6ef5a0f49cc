//! Tracks whether there are unused portals on nodes.

use std::cell::Cell;

thread_local! {
    /// Some link has portals to be closed.
    static PORTALS: Cell<bool> = const { Cell::new(false) };
}

/// Records that a link has left a portal open.
pub fn note_portal() {
    PORTALS.set(true);
}

/// Whether a portal was left open since the last call.
#[inline]
pub fn take() -> bool {
    PORTALS.replace(false)
}
