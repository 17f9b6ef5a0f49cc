//! Conversion into the database's encoding.

use pgrx::pg_sys;
#[cfg(any(feature = "pg15", feature = "pg16"))]
use pgrx::pg_sys::pg_char_to_encoding;
// Since version 17 the server's function has a different name than libpq's.
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
use pgrx::pg_sys::pg_char_to_encoding_private as pg_char_to_encoding;
use std::ffi::{CStr, CString, c_char};

/// Converts text from the named encoding to the database's; text that cannot be converted raises an ERROR, except for
/// text that is only displayed, in which invalid bytes become `?`.
pub fn to_database(encoding: &str, text: &[u8]) -> Vec<u8> {
    let Ok(name) = CString::new(encoding) else { return text.to_vec() };
    let Ok(length) = i32::try_from(text.len()) else { return text.to_vec() };
    // SAFETY: the text is valid for its length; the result is the text itself or a palloc'd C string.
    unsafe {
        let from = pg_char_to_encoding(name.as_ptr());
        if from < 0 || from == pg_sys::GetDatabaseEncoding() {
            return text.to_vec();
        }
        let converted = pg_sys::pg_any_to_server(text.as_ptr().cast::<c_char>(), length, from);
        if converted.is_null() || std::ptr::eq(converted.cast::<u8>(), text.as_ptr()) {
            return text.to_vec();
        }
        let copy = CStr::from_ptr(converted).to_bytes().to_vec();
        pg_sys::pfree(converted.cast());
        copy
    }
}
