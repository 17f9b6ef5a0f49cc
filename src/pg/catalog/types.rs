//! Names of types, and invalidation of cached types.

use pgrx::pg_sys::{self, Oid};
use std::cell::Cell;
use std::ffi::{CStr, c_int};

thread_local! {
    static CHANGES: Cell<u64> = const { Cell::new(0) };
}

/// Number of type invalidations received by this backend: cached data on types is valid while the number stays the
/// same.
pub fn changes() -> u64 {
    CHANGES.get()
}

/// The type's name, qualified and quoted as needed.
pub fn qualified_name(of_type: Oid) -> String {
    // SAFETY: a syscache lookup; raises an error for a type that does not exist, else returns a C string.
    unsafe { CStr::from_ptr(pg_sys::format_type_be_qualified(of_type)) }
        .to_string_lossy()
        .into_owned()
}

/// The name of a type with the same OID on every server.
pub fn pinned_name(of_type: u32) -> Option<String> {
    if of_type >= pg_sys::FirstGenbkiObjectId {
        return None;
    }
    let flags = (pg_sys::FORMAT_TYPE_INVALID_AS_NULL) as pg_sys::bits16;
    // SAFETY: a syscache lookup that returns null for a type that does not exist, else a C string.
    let name = unsafe { pg_sys::format_type_extended(Oid::from(of_type), -1, flags) };
    // SAFETY: as above.
    (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
}

/// Registers for type invalidations; called once, when the library is loaded.
pub fn install() {
    // SAFETY: plain registration of a function that lives as long as the process.
    unsafe {
        pg_sys::CacheRegisterSyscacheCallback(
            pg_sys::SysCacheIdentifier::TYPEOID as c_int,
            Some(changed),
            pg_sys::Datum::from(0),
        );
    }
}

unsafe extern "C-unwind" fn changed(_arg: pg_sys::Datum, _cache: c_int, _hash: u32) {
    CHANGES.set(CHANGES.get() + 1);
}

/// The attribute at `index` (from 0).
///
/// # Safety
/// `descriptor` is valid and has more than `index` attributes.
pub(in crate::pg) unsafe fn tuple_attribute(
    descriptor: pg_sys::TupleDesc,
    index: usize,
) -> *mut pg_sys::FormData_pg_attribute {
    // SAFETY: by the caller's promise.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return (*descriptor).attrs.as_mut_ptr().add(index);
        // Since version 18 the full attributes follow the compact ones (TupleDescAttrAddress).
        #[cfg(feature = "pg18")]
        return (*descriptor)
            .compact_attrs
            .as_mut_ptr()
            .add((*descriptor).natts as usize)
            .cast::<pg_sys::FormData_pg_attribute>()
            .add(index);
    }
}
