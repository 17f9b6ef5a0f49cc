//! Temporary changes of settings.

use pgrx::pg_sys;
use std::ffi::{CStr, c_int};

/// Settings may be changed in any way until this is dropped, which restores them.
///
/// The server keeps a stack of values for each setting, by nesting level. Dropping ends the level as on rollback
/// (`AtEOXact_GUC(false, …)`): ending it as on commit would restore what [`Self::begin`] has set, too, but would leave
/// values set by code in between with SET in effect, and [`Self`] promises that none are.
///
/// An error that is a value passes through the drop like success. An error raised by the server unwinds to the code
/// that rolls back the transaction or subtransaction around it: that ends this level and all above it, so the drop does
/// nothing. The level must not be ended twice, because the next one gets the same number.
pub struct OwnSettings {
    level: c_int,
}

impl OwnSettings {
    /// Starts a level with these settings.
    pub fn begin(settings: &[(&CStr, &CStr)]) -> Self {
        // SAFETY: changes a counter of this backend.
        let own = Self { level: unsafe { pg_sys::NewGUCNestLevel() } };
        settings.iter().for_each(|(name, value)| set_in_level(name, value));
        own
    }

    /// With a `search_path` on which names refer to PostgreSQL's own functions and operators, which nobody can mask.
    pub fn safe_path() -> Self {
        Self::begin(&[(c"search_path", c"pg_catalog, pg_temp")])
    }
}

/// Sets a value until the innermost level ends; levels are started by subtransactions and [`OwnSettings`].
pub(in crate::pg) fn set_in_level(name: &CStr, value: &CStr) {
    // SAFETY: changes a variable of this backend; both strings are NUL-terminated, and are copied.
    unsafe {
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
}

impl Drop for OwnSettings {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: takes back what was set since `begin`.
            unsafe { pg_sys::AtEOXact_GUC(false, self.level) }
        }
    }
}
