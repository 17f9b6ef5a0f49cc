//! Whether nodes have portals that nobody reads any more.

use std::cell::Cell;

thread_local! {
    /// A link has portals that are to be closed.
    static PORTALS: Cell<bool> = const { Cell::new(false) };
}

/// A link has left a portal open.
pub fn note_portal() {
    PORTALS.set(true);
}

/// Whether a portal was left open since the last call.
#[inline]
pub fn take() -> bool {
    PORTALS.replace(false)
}
