//! Settings for a piece of work, which its caller does not see changed.

use pgrx::pg_sys;
use std::ffi::{CStr, c_int};

/// Until dropped, settings may be changed in any way; then they are what they were.
pub struct OwnSettings {
    level: c_int,
}

impl OwnSettings {
    /// From here on, with these set to begin with.
    pub fn begin(settings: &[(&CStr, &CStr)]) -> Self {
        // SAFETY: the calls change backend-local variables; the texts end with NUL, and are copied.
        unsafe {
            let own = Self { level: pg_sys::NewGUCNestLevel() };
            for (name, value) in settings {
                pg_sys::set_config_option(
                    name.as_ptr(),
                    value.as_ptr(),
                    pg_sys::GucContext::PGC_USERSET,
                    pg_sys::GucSource::PGC_S_SESSION,
                    pg_sys::GucAction::GUC_ACTION_SAVE,
                    true,
                    0,
                    false,
                );
            }
            own
        }
    }

    /// Names mean PostgreSQL's own functions and operators, which nobody can put others in front of.
    pub fn safe_path() -> Self {
        Self::begin(&[(c"search_path", c"pg_catalog, pg_temp")])
    }
}

impl Drop for OwnSettings {
    fn drop(&mut self) {
        // After an error the end of the transaction does this, and for more than this level.
        if !std::thread::panicking() {
            // SAFETY: takes back what was set since `begin`.
            unsafe { pg_sys::AtEOXact_GUC(false, self.level) }
        }
    }
}
