//! An extension as the server's catalogs have it, and single columns of its tables, found by name: what can be read without knowing
//! which version made the tables.

use pgrx::{FromDatum, pg_sys};
use std::ffi::CStr;

/// An extension that the current database has.
pub struct Installed {
    /// Its OID.
    pub oid: pg_sys::Oid,
    /// Its version, as `pg_extension` has it.
    pub version: String,
}

/// Attribute numbers of `pg_extension`, the same in all supported versions of PostgreSQL.
const EXTNAME: pg_sys::AttrNumber = 2;
const EXTVERSION: pg_sys::AttrNumber = 6;

/// The extension of this name, if the current database has it.
pub fn installed(name: &CStr) -> Option<Installed> {
    // SAFETY: the name outlives the scan; `extversion` is a text.
    unsafe {
        let oid = pg_sys::get_extension_oid(name.as_ptr(), true);
        if oid == pg_sys::InvalidOid {
            return None;
        }
        let index = pg_sys::Oid::from(pg_sys::ExtensionNameIndexId);
        let mut key: pg_sys::ScanKeyData = std::mem::zeroed();
        let name = pg_sys::Datum::from(name.as_ptr());
        let equal = pg_sys::BTEqualStrategyNumber as u16;
        pg_sys::ScanKeyInit(&mut key, EXTNAME, equal, pg_sys::F_NAMEEQ.into(), name);
        let versions = scan::<String>(pg_sys::ExtensionRelationId, index, &mut [key], EXTVERSION);
        Some(Installed { oid, version: versions.into_iter().flatten().next()? })
    }
}

/// Whether CREATE EXTENSION or ALTER EXTENSION … UPDATE is running a script of this extension.
#[inline]
pub fn in_script_of(name: &CStr) -> bool {
    // SAFETY: reads backend-local variables; looks into a catalog only while a script runs.
    unsafe {
        pg_sys::creating_extension
            && pg_sys::CurrentExtensionObject == pg_sys::get_extension_oid(name.as_ptr(), true)
    }
}

/// `ClanguageId`, which pgrx does not have.
const C_LANGUAGE: u32 = 13;

/// Whether a function was written in C and belongs to this extension.
pub fn has_c_function(name: &CStr, function: pg_sys::Oid) -> bool {
    // SAFETY: looks into catalogs; the tuple is released after its one field was read.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::PROCOID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(function));
        if tuple.is_null() {
            return false;
        }
        let language = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>()).prolang;
        pg_sys::ReleaseSysCache(tuple);
        let owner = pg_sys::getExtensionOfObject(pg_sys::ProcedureRelationId, function);
        language.to_u32() == C_LANGUAGE
            && owner != pg_sys::InvalidOid
            && owner == pg_sys::get_extension_oid(name.as_ptr(), true)
    }
}

/// A type that a column may be read as.
pub trait ColumnType: FromDatum {
    /// Its OID.
    const OID: pg_sys::Oid;
}

impl ColumnType for bool {
    const OID: pg_sys::Oid = pg_sys::BOOLOID;
}

impl ColumnType for i64 {
    const OID: pg_sys::Oid = pg_sys::INT8OID;
}

/// Of columns whose type is one of the aliases of `oid`, here `regclass`.
impl ColumnType for pg_sys::Oid {
    const OID: pg_sys::Oid = pg_sys::REGCLASSOID;
}

/// A value of type `name`.
pub struct Name(pub String);

impl FromDatum for Name {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: the caller's word: the datum is a name, which ends with NUL.
        let name =
            unsafe { CStr::from_ptr((*datum.cast_mut_ptr::<pg_sys::NameData>()).data.as_ptr()) };
        Some(Self(name.to_string_lossy().into_owned()))
    }
}

impl ColumnType for Name {
    const OID: pg_sys::Oid = pg_sys::NAMEOID;
}

/// All values of a column; None if the table has no column of this name and type.
pub fn column<T: ColumnType>(table: pg_sys::Oid, name: &CStr) -> Option<Vec<Option<T>>> {
    // SAFETY: the column is of the type that `T` stands for; no index, so no keys.
    unsafe {
        let column = pg_sys::get_attnum(table, name.as_ptr());
        if column <= 0 || pg_sys::get_atttype(table, column) != T::OID {
            return None;
        }
        Some(scan(table, pg_sys::InvalidOid, &mut [], column))
    }
}

/// # Safety
/// The keys fit the index, or there are none; the column exists and is of type `T`.
unsafe fn scan<T: FromDatum>(
    table: pg_sys::Oid,
    index: pg_sys::Oid,
    keys: &mut [pg_sys::ScanKeyData],
    column: pg_sys::AttrNumber,
) -> Vec<Option<T>> {
    let mut found = Vec::new();
    // SAFETY: opened and closed here; values are copied before the scan goes on. An error on the way releases all through the
    // resource owner.
    unsafe {
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let relation = pg_sys::table_open(table, lock);
        let use_index = index != pg_sys::InvalidOid;
        let (count, keys) = (keys.len() as i32, keys.as_mut_ptr());
        let none = std::ptr::null_mut();
        let scan = pg_sys::systable_beginscan(relation, index, use_index, none, count, keys);
        let descriptor = (*relation).rd_att;
        let columns = (*descriptor).natts as usize;
        let (mut values, mut nulls) = (vec![pg_sys::Datum::null(); columns], vec![true; columns]);
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let (to, null) = (values.as_mut_ptr(), nulls.as_mut_ptr());
            pg_sys::heap_deform_tuple(tuple, descriptor, to, null);
            let at = column as usize - 1;
            found.push(T::from_datum(values[at], nulls[at]));
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, lock);
    }
    found
}
