//! Digests of result columns, which are cheap to compare.

use crate::pg::catalog::types::tuple_attribute;
use crate::pg::tree::list;
use helios_core::frames::ColumnsDigest;
use pgrx::pg_sys::{self, Oid};
use std::ffi::{CStr, c_int};

/// The expected columns of a node's result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResultColumns {
    /// Digest of names and types as described by a node; 0 if there is no result, or its columns do not matter.
    pub described: u64,
    /// Digest of the types, including those whose OIDs differ between servers.
    pub own_types: u64,
}

unsafe extern "C-unwind" {
    // Called for every column, so a single guard protects all of them.
    fn exprType(expr: *const pg_sys::Node) -> Oid;
    fn getBaseType(of_type: Oid) -> Oid;
}

#[derive(Default)]
struct Collected {
    described: ColumnsDigest,
    own_types: u64,
}

impl Collected {
    /// # Safety
    /// An error of the server's leaves this without an unwinding.
    #[inline]
    unsafe fn add(&mut self, name: &CStr, of_type: Oid) {
        // A RowDescription contains the base type of a domain. No type with a fixed OID is a domain.
        let base = if of_type.to_u32() < pg_sys::FirstGenbkiObjectId {
            of_type
        } else {
            // SAFETY: a syscache lookup, under the caller's promise.
            unsafe { getBaseType(of_type) }
        };
        self.described.add(name.to_bytes(), base.to_u32());
        let number = u64::from(of_type.to_u32());
        self.own_types = self.own_types.wrapping_mul(0x0000_0100_0000_01b3).wrapping_add(number);
    }

    fn finish(self) -> ResultColumns {
        ResultColumns { described: self.described.finish(), own_types: self.own_types }
    }
}

/// The columns of a query's result; none if it does not return rows.
///
/// # Safety
/// `targets` is null or a valid list of TargetEntry. A server error leaves this without unwinding: only within a guard,
/// without destructors in between.
pub(in crate::pg) unsafe fn of_targets(targets: *mut pg_sys::List, returns: bool) -> ResultColumns {
    if !returns {
        return ResultColumns::default();
    }
    let mut columns = Collected::default();
    // SAFETY: by the caller's promise; a name is null or a C string.
    unsafe {
        for entry in list::iter::<pg_sys::TargetEntry>(targets).filter(|&e| !(*e).resjunk) {
            let name = (*entry).resname;
            let name = if name.is_null() { c"" } else { CStr::from_ptr(name) };
            columns.add(name, exprType((*entry).expr.cast()));
        }
    }
    columns.finish()
}

/// The columns of a row with this descriptor.
///
/// # Safety
/// `descriptor` is valid.
pub(in crate::pg) unsafe fn of_descriptor(descriptor: pg_sys::TupleDesc) -> ResultColumns {
    // SAFETY: by the caller's promise; nothing in here has to be dropped.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| of_attributes(descriptor)) }
}

/// # Safety
/// As [`of_targets`].
unsafe fn of_attributes(descriptor: pg_sys::TupleDesc) -> ResultColumns {
    let mut columns = Collected::default();
    // SAFETY: by the caller's promise.
    unsafe {
        for i in 0..(*descriptor).natts as usize {
            let attribute = &*tuple_attribute(descriptor, i);
            if !attribute.attisdropped {
                columns.add(CStr::from_ptr(attribute.attname.data.as_ptr()), attribute.atttypid);
            }
        }
    }
    columns.finish()
}

/// The columns of `SELECT *` from a locked relation.
pub fn of_relation(relation: Oid) -> ResultColumns {
    // SAFETY: the caller holds a lock; the descriptor is read while the relation is open.
    unsafe {
        let opened = pg_sys::relation_open(relation, pg_sys::NoLock as c_int);
        let columns = of_descriptor((*opened).rd_att);
        pg_sys::relation_close(opened, pg_sys::NoLock as c_int);
        columns
    }
}
