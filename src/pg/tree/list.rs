//! Reads PostgreSQL's lists (pg_list.h's accessors are inline functions, for which there are no bindings).

use pgrx::pg_sys::{self, Oid};
use std::ffi::c_int;

/// Number of members; null is the empty list.
///
/// # Safety
/// `list` is null or a valid list.
pub(in crate::pg) unsafe fn len(list: *const pg_sys::List) -> usize {
    // SAFETY: by the caller's promise.
    if list.is_null() { 0 } else { unsafe { (*list).length as usize } }
}

/// The member at `index` of a list of nodes.
///
/// # Safety
/// `list` is a valid list of pointers to `T` with more than `index` members.
pub(in crate::pg) unsafe fn nth<T>(list: *const pg_sys::List, index: usize) -> *mut T {
    // SAFETY: by the caller's promise.
    unsafe { (*(*list).elements.add(index)).ptr_value.cast() }
}

/// The member at `index` of a list of integers.
///
/// # Safety
/// `list` is a valid list of integers with more than `index` members.
pub(in crate::pg) unsafe fn nth_int(list: *const pg_sys::List, index: usize) -> c_int {
    // SAFETY: by the caller's promise.
    unsafe { (*(*list).elements.add(index)).int_value }
}

/// The members of a list of OIDs.
///
/// # Safety
/// `list` is null or a valid list of OIDs that outlives the iterator.
pub(in crate::pg) unsafe fn oids(list: *const pg_sys::List) -> impl Iterator<Item = Oid> + Clone {
    // SAFETY: by the caller's promise.
    let length = unsafe { len(list) };
    // SAFETY: as above; the index is within the list.
    (0..length).map(move |i| unsafe { (*(*list).elements.add(i)).oid_value })
}

/// The members of a list of integers.
///
/// # Safety
/// `list` is null or a valid list of integers that outlives the iterator.
pub(in crate::pg) unsafe fn integers(list: *const pg_sys::List) -> impl Iterator<Item = c_int> {
    // SAFETY: by the caller's promise.
    let length = unsafe { len(list) };
    // SAFETY: as above; the index is within the list.
    (0..length).map(move |i| unsafe { nth_int(list, i) })
}

/// The members of a list of nodes.
///
/// # Safety
/// `list` is null or a valid list of pointers to `T` that outlives the iterator.
pub(in crate::pg) unsafe fn iter<T>(
    list: *const pg_sys::List,
) -> impl Iterator<Item = *mut T> + Clone {
    // SAFETY: by the caller's promise.
    let length = unsafe { len(list) };
    // SAFETY: as above; the index is within the list.
    (0..length).map(move |i| unsafe { nth(list, i) })
}

/// The members of a list of nodes as a vector, for who needs them more than once or by number.
///
/// # Safety
/// As for [`iter`].
pub(in crate::pg) unsafe fn members<T>(list: *const pg_sys::List) -> Vec<*mut T> {
    // SAFETY: by the caller's promise.
    unsafe { iter(list) }.collect()
}
