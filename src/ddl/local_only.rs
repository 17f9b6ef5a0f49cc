//! Definitions of Helios' own that concern this server alone.

use std::cell::Cell;

thread_local!(static QUIET: Cell<bool> = const { Cell::new(false) });

/// Whether the utility hook is to let statements pass.
pub(super) fn is_quiet() -> bool {
    QUIET.get()
}

/// Runs statements that no node follows.
pub(super) fn quietly<T>(work: impl FnOnce() -> T) -> T {
    struct Loud(bool);
    impl Drop for Loud {
        fn drop(&mut self) {
            QUIET.set(self.0);
        }
    }
    let _loud = Loud(QUIET.replace(true));
    work()
}
