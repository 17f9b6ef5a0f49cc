//! Settings that are in effect for a piece of work only.

use pgrx::pg_sys;
use std::ffi::{CStr, c_int};

/// Until dropped, settings may be changed in any way; then they are what they were.
///
/// The server keeps a stack of each setting's values, with a level a value. Dropping ends the level as a rollback does
/// (`AtEOXact_GUC(false, …)`): what [`Self::begin`] has set would be taken back by a commit as well, but a commit would hand
/// to the caller what code in between has set with SET, and [`Self`] promises that nothing is.
///
/// An error that is a value passes through the drop like success. One that the server raises unwinds to whoever rolls back the
/// transaction or subtransaction around it: that ends this level and all above it, so the drop leaves it alone. The level must
/// not be ended twice, because the next one begins with the same number.
pub struct OwnSettings {
    level: c_int,
}

impl OwnSettings {
    /// Begins with these settings.
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

/// Sets a setting until its innermost level ends, which a subtransaction and [`OwnSettings`] begin.
pub(in crate::pg) fn set_in_level(name: &CStr, value: &CStr) {
    // SAFETY: changes a variable of this backend; both texts end with NUL, and are copied.
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
