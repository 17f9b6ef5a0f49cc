//! Internal DDL of Helios that concerns this server only.

use std::cell::Cell;

thread_local!(static ACTIVE: Cell<bool> = const { Cell::new(false) });

/// Whether the utility hook shall pass commands through.
pub(super) fn is_active() -> bool {
    ACTIVE.get()
}

/// Runs commands that are not sent to nodes.
pub(super) fn locally<T>(work: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ACTIVE.set(self.0);
        }
    }
    let _restore = Restore(ACTIVE.replace(true));
    work()
}
