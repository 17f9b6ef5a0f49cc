//! Bodies of functions as they were written.

use crate::pg::catalog::table::{Column, catalog_table, system_rows};
use pgrx::pg_sys::{self, Oid};
use std::cell::Cell;

catalog_table! {
    struct Function: "pg_catalog"."pg_proc" {
        prosrc: String,
        prolang: Oid,
        proconfig: Option<Vec<String>>,
    } by {
        oid: Oid,
    }
}

/// The index of `pg_proc` on `oid`.
const BY_OID: u32 = 2690;
/// `SQLlanguageId`, which pgrx does not have.
const SQL: u32 = 14;

/// The body of a function in a language whose bodies are made of SQL.
pub struct FunctionBody {
    /// Its text; empty if it was parsed when the function was created.
    pub text: String,
    /// The value of `search_path` that the function sets.
    pub search_path: Option<String>,
}

/// None if the function does not exist, or is in a language whose text is not SQL.
pub fn of(function: Oid) -> Option<FunctionBody> {
    const OID: Column<Function, Oid> = Column::named("oid");
    let rows: Vec<Function> =
        system_rows(pg_sys::ProcedureRelationId.to_u32(), BY_OID, &[OID.equals(function)]);
    let row = rows.into_iter().next()?;
    // SAFETY: a syscache lookup of a NUL-terminated name.
    let procedural = unsafe { pg_sys::get_language_oid(c"plpgsql".as_ptr(), true) };
    if row.prolang.to_u32() != SQL && row.prolang != procedural {
        return None;
    }
    let set = row.proconfig.unwrap_or_default();
    let search_path = set.iter().find_map(|one| one.strip_prefix("search_path="));
    Some(FunctionBody { text: row.prosrc, search_path: search_path.map(str::to_owned) })
}

thread_local! {
    static CHANGES: Cell<u64> = const { Cell::new(0) };
}

/// Registers the callback. Called once, from `_PG_init`.
pub fn install() {
    // SAFETY: the callback lives as long as the process, and only touches a thread-local cell.
    unsafe {
        let functions = pg_sys::SysCacheIdentifier::PROCOID as i32;
        let none = pg_sys::Datum::null();
        pg_sys::CacheRegisterSyscacheCallback(functions, Some(function_changed), none);
    }
}

/// Changes whenever the definition of any function may have changed.
#[inline]
pub fn changes() -> u64 {
    CHANGES.get()
}

unsafe extern "C-unwind" fn function_changed(_: pg_sys::Datum, _cache: i32, _hash: u32) {
    CHANGES.set(CHANGES.get().wrapping_add(1));
}
