//! Hears what makes a backend's copy of the directory old: changes to its tables, to the names of
//! schemas, and the end of transactions that changed it.
//!
//! The callbacks run at moments where nothing may fail (invalidation, commit, abort), so they only
//! set counters; whoever reads the directory looks at those.

use crate::error::{Error, Result};
use crate::pg::ipc::{shared_memory, worker};
use pgrx::pg_sys::{self, errcodes::PgSqlErrorCode as Code};
use std::cell::Cell;

thread_local! {
    static EPOCH: Cell<u64> = const { Cell::new(1) };
    static RELATIONS: Cell<u64> = const { Cell::new(0) };
    static CHANGED: Cell<bool> = const { Cell::new(false) };
    static WATCHED: Cell<[pg_sys::Oid; 5]> = const { Cell::new([pg_sys::InvalidOid; 5]) };
}

/// Registers the callbacks. Called once, from `_PG_init`.
pub fn install() {
    // SAFETY: the callbacks live as long as the process, and only touch thread-local cells and one atomic.
    unsafe {
        let none = pg_sys::Datum::null();
        let namespaces = pg_sys::SysCacheIdentifier::NAMESPACEOID as i32;
        pg_sys::CacheRegisterSyscacheCallback(namespaces, Some(namespace_changed), none);
        pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), none);
        pg_sys::RegisterXactCallback(Some(transaction_event), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(subtransaction_event), std::ptr::null_mut());
    }
}

/// Changes whenever something that the directory's copy rests on may have changed.
#[inline]
pub fn epoch() -> (u64, u64) {
    (EPOCH.get(), shared_memory::generation())
}

/// Changes whenever the definition of any relation may have changed.
#[inline]
pub fn relations() -> u64 {
    RELATIONS.get()
}

/// The relations whose invalidation matters; all of them invalid: every relation does.
pub fn watch(relations: [pg_sys::Oid; 5]) {
    WATCHED.set(relations);
}

/// The current transaction changes the directory: seen here at once, elsewhere when it commits.
pub fn directory_changed() {
    CHANGED.set(true);
    bump();
}

/// The current transaction changes a table that is watched: seen here with the next command, elsewhere by whoever gets
/// a lock after it was committed, by COMMIT PREPARED too.
pub fn tell(relation: pg_sys::Oid) {
    // SAFETY: the relation exists: its trigger is running. Notes a message for the end of the command and transaction.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation) }
}

/// Plans that use a table of this schema are made again, from the end of the transaction on.
pub fn tables_changed(schema: &str) -> Result<()> {
    let select = "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                   WHERE n.nspname = $1::name AND c.relkind IN ('r', 'p', 'v', 'm', 'S')";
    let read = |row: &crate::pg::session::sql::Row<'_>| {
        Ok(row.get::<pg_sys::Oid>(1)?.unwrap_or(pg_sys::InvalidOid))
    };
    for relation in crate::pg::session::sql::rows(select, &[schema.into()], read)? {
        // SAFETY: looks into the system cache; a relation that is gone is an error raised by the server.
        unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation) }
    }
    Ok(())
}

/// A transaction that changed the directory cannot be left prepared: nobody would be told at its commit.
fn refuse_prepare() -> Result<()> {
    if CHANGED.get() {
        return Err(Error::new(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            "cannot PREPARE a transaction that has changed the cluster's directory",
        )
        .hint("Commit it without PREPARE TRANSACTION."));
    }
    Ok(())
}

fn bump() {
    EPOCH.set(EPOCH.get().wrapping_add(1));
}

unsafe extern "C-unwind" fn namespace_changed(_: pg_sys::Datum, _cache: i32, _hash: u32) {
    bump();
}

unsafe extern "C-unwind" fn relation_changed(_: pg_sys::Datum, relation: pg_sys::Oid) {
    RELATIONS.set(RELATIONS.get().wrapping_add(1));
    let watched = WATCHED.get();
    let all = relation == pg_sys::InvalidOid || watched[0] == pg_sys::InvalidOid;
    if all || watched.contains(&relation) {
        bump();
    }
}

unsafe extern "C-unwind" fn transaction_event(
    event: pg_sys::XactEvent::Type,
    _: *mut std::ffi::c_void,
) {
    match event {
        pg_sys::XactEvent::XACT_EVENT_PRE_PREPARE => {
            // SAFETY: an unguarded frame that owns nothing; errors are allowed before the prepare.
            unsafe { crate::pg::error::trampoline((), refuse_prepare) }
        }
        pg_sys::XactEvent::XACT_EVENT_COMMIT | pg_sys::XactEvent::XACT_EVENT_ABORT
            if CHANGED.get() =>
        {
            CHANGED.set(false);
            bump();
            if event == pg_sys::XactEvent::XACT_EVENT_COMMIT {
                shared_memory::next_generation();
                // SAFETY: reads a variable of this backend.
                let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
                // There may be nodes now that want to be watched, or none any more.
                worker::note(database, worker::Work::Pending);
                worker::wake(database);
            }
        }
        _ => {}
    }
}

unsafe extern "C-unwind" fn subtransaction_event(
    event: pg_sys::SubXactEvent::Type,
    _sub: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _: *mut std::ffi::c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB && CHANGED.get() {
        bump();
    }
}
