//! An extension as recorded in the server's catalogs, and single columns of its tables, found by name: what can be read
//! without knowing which version created the tables.

use crate::pg::catalog::table::{Column, catalog_table, system_rows};
use crate::pg::catalog::value::{Name, Value};
use pgrx::pg_sys::{self, Oid};
use std::ffi::CStr;

/// An extension installed in the current database.
pub struct Installed {
    /// Its OID.
    pub oid: Oid,
    /// Its version in `pg_extension`.
    pub version: String,
}

catalog_table! {
    struct ExtensionRow: "pg_catalog"."pg_extension" {
        oid: Oid,
        extversion: String,
    } by {
        extname: Name,
    }
}

/// The extension with this name, if it is installed in the current database.
pub fn installed(name: &CStr) -> Option<Installed> {
    const NAME: Column<ExtensionRow, Name> = Column::named("extname");
    let catalog = pg_sys::ExtensionRelationId.to_u32();
    let by_name = [NAME.equals(Name(name.to_string_lossy().into_owned()))];
    let row = system_rows(catalog, pg_sys::ExtensionNameIndexId, &by_name).into_iter().next();
    row.map(|ExtensionRow { oid, extversion: version }| Installed { oid, version })
}

/// Whether CREATE EXTENSION or ALTER EXTENSION … UPDATE is running a script of this extension.
#[inline]
pub fn in_script_of(name: &CStr) -> bool {
    // SAFETY: reads backend-local variables; reads a catalog only while a script runs.
    unsafe {
        pg_sys::creating_extension
            && pg_sys::CurrentExtensionObject == pg_sys::get_extension_oid(name.as_ptr(), true)
    }
}

/// `ClanguageId`, which pgrx does not have.
const C_LANGUAGE: u32 = 13;

/// Whether a function is written in C and belongs to this extension.
pub fn has_c_function(name: &CStr, function: Oid) -> bool {
    // SAFETY: reads catalogs; the tuple is released after its one field was read.
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

/// All values of a column; None if the table does not have a column of this name and type.
pub fn column<T: Value>(table: Oid, name: &CStr) -> Option<Vec<Option<T>>> {
    // SAFETY: the column has the type that `T` represents.
    unsafe {
        let column = pg_sys::get_attnum(table, name.as_ptr());
        if column <= 0 || pg_sys::get_atttype(table, column).to_u32() != T::TYPE {
            return None;
        }
        Some(scan(table, column))
    }
}

/// # Safety
/// The column exists and has the type that `T` represents.
unsafe fn scan<T: Value>(table: Oid, column: pg_sys::AttrNumber) -> Vec<Option<T>> {
    let mut found = Vec::new();
    // SAFETY: opened and closed here; values are copied before the scan continues. On error, the resource owner releases
    // everything.
    unsafe {
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let relation = pg_sys::table_open(table, lock);
        let (no_index, none) = (pg_sys::InvalidOid, std::ptr::null_mut());
        let scan =
            pg_sys::systable_beginscan(relation, no_index, false, none, 0, std::ptr::null_mut());
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
            found.push(T::read(values[at], nulls[at]));
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, lock);
    }
    found
}
