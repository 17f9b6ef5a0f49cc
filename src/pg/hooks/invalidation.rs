//! Cache invalidation: counts invalidation messages for schema names and relations.
//!
//! The callbacks run where no error may be raised, so they only count; users of cached data compare the counters.

use crate::error::Result;
use pgrx::pg_sys;
use std::cell::Cell;

thread_local! {
    static EPOCH: Cell<u64> = const { Cell::new(1) };
    static RELATIONS: Cell<u64> = const { Cell::new(0) };
    static WATCHED: Cell<[pg_sys::Oid; 6]> = const { Cell::new([pg_sys::InvalidOid; 6]) };
}

/// Registers the callbacks. Called once, from `_PG_init`.
pub fn install() {
    // SAFETY: the callbacks live as long as the process, and only touch thread-local cells.
    unsafe {
        let none = pg_sys::Datum::null();
        let namespaces = pg_sys::SysCacheIdentifier::NAMESPACEOID as i32;
        pg_sys::CacheRegisterSyscacheCallback(namespaces, Some(namespace_changed), none);
        pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), none);
    }
}

/// Changes whenever the name of a schema, or a watched relation ([`watch`]), may have changed.
#[inline]
pub fn epoch() -> u64 {
    EPOCH.get()
}

/// Changes whenever the definition of any relation may have changed.
#[inline]
pub fn relations() -> u64 {
    RELATIONS.get()
}

/// Sets the relations whose invalidation matters; if all are invalid, every relation does.
pub fn watch(relations: [pg_sys::Oid; 6]) {
    WATCHED.set(relations);
}

/// Records a change of a watched table by the current transaction: visible here with the next command, and elsewhere to
/// everybody who acquires a lock after it was committed, also by COMMIT PREPARED.
pub fn table_changed(relation: pg_sys::Oid) {
    // SAFETY: the relation exists: its trigger is running. Notes a message for the end of the command and transaction.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation) }
}

/// Invalidates plans that use a table in this schema at the end of the transaction.
pub fn tables_changed(schema: &str) -> Result<()> {
    let select = "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                   WHERE n.nspname = $1::name AND c.relkind IN ('r', 'p', 'v', 'm', 'S')";
    let read = |row: &crate::pg::session::sql::Row<'_>| row.value::<pg_sys::Oid>("oid");
    for relation in crate::pg::session::sql::rows(select, &[schema.into()], read)? {
        // SAFETY: a syscache lookup; a relation that is gone is an error raised by the server.
        unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation) }
    }
    Ok(())
}

/// Has the effect of an invalidation message.
pub fn invalidate() {
    EPOCH.set(EPOCH.get().wrapping_add(1));
}

unsafe extern "C-unwind" fn namespace_changed(_: pg_sys::Datum, _cache: i32, _hash: u32) {
    invalidate();
}

unsafe extern "C-unwind" fn relation_changed(_: pg_sys::Datum, relation: pg_sys::Oid) {
    RELATIONS.set(RELATIONS.get().wrapping_add(1));
    let watched = WATCHED.get();
    let all = relation == pg_sys::InvalidOid || watched[0] == pg_sys::InvalidOid;
    if all || watched.contains(&relation) {
        invalidate();
    }
}
