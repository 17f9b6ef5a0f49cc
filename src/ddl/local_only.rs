//! Definitions of Helios' own that concern this server alone.

use std::cell::Cell;

thread_local!(static ACTIVE: Cell<bool> = const { Cell::new(false) });

/// Whether the utility hook is to let statements pass.
pub(super) fn is_active() -> bool {
    ACTIVE.get()
}

/// Runs statements that no node follows.
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
