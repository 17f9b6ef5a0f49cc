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

/// The types that values of a type directly consist of: the base type of a domain, the columns of a composite type, the subtype
/// of a range, the range of a multirange, the elements of an array. A type cannot contain itself.
pub fn parts_of(of_type: Oid) -> impl Iterator<Item = Oid> {
    // SAFETY: look-ups of existing types; the copy of the descriptor is freed after its types were copied.
    let parts = unsafe {
        match pg_sys::get_typtype(of_type) as u8 {
            pg_sys::TYPTYPE_DOMAIN => vec![base_of(of_type)],
            pg_sys::TYPTYPE_RANGE => vec![pg_sys::get_range_subtype(of_type)],
            pg_sys::TYPTYPE_MULTIRANGE => vec![pg_sys::get_multirange_range(of_type)],
            pg_sys::TYPTYPE_COMPOSITE => {
                let columns = pg_sys::lookup_rowtype_tupdesc_copy(of_type, -1);
                let types = (0..(*columns).natts as usize)
                    .map(|i| &*tuple_attribute(columns, i))
                    .filter(|column| !column.attisdropped)
                    .map(|column| column.atttypid)
                    .collect();
                pg_sys::FreeTupleDesc(columns);
                types
            }
            _ => vec![pg_sys::get_element_type(of_type)],
        }
    };
    parts.into_iter().filter(|&part| part != Oid::INVALID)
}

/// The type that a domain is based on at last; another type itself.
pub fn base_of(of_type: Oid) -> Oid {
    // SAFETY: look-ups, which raise an error for a type that does not exist.
    unsafe { pg_sys::getBaseType(of_type) }
}

/// Whether nothing in a type can be a role's.
pub fn is_built_in(of_type: Oid) -> bool {
    of_type.to_u32() < pg_sys::FirstNormalObjectId
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
