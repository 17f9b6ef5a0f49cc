//! Settings that affect the meaning of a text.

use crate::pg::tree::ParamUse;
use pgrx::pg_sys::{self, Oid};
use std::ffi::c_int;

/// OIDs of the namespaces in the search path, without implicit ones.
pub fn search_path() -> Vec<Oid> {
    let mut path = [Oid::INVALID; 64];
    // SAFETY: fills at most as many OIDs as the array has; returns how many there are.
    let found = unsafe { pg_sys::fetch_search_path_array(path.as_mut_ptr(), path.len() as c_int) };
    path[..(found.max(0) as usize).min(path.len())].to_vec()
}

/// Whether backslashes in `'…'` are literal.
pub fn standard_conforming_strings() -> bool {
    // SAFETY: reads a global of this single-threaded backend.
    unsafe { pg_sys::standard_conforming_strings }
}

/// Whether every parameter appears in the text as `$n`.
pub fn params_are_numbered(source: &[u8], params: &[ParamUse]) -> bool {
    params.iter().all(|param| {
        usize::try_from(param.location)
            .ok()
            .and_then(|at| source.get(at..))
            .and_then(|rest| rest.strip_prefix(b"$"))
            .is_some_and(|digits| {
                let end = digits.iter().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
                std::str::from_utf8(&digits[..end]).ok().and_then(|n| n.parse().ok())
                    == Some(param.id)
            })
    })
}
