//! Reads rows of ordinary tables the way PostgreSQL reads its own catalogs: through an index, with a
//! snapshot taken at that moment. So the directory is current even inside a statement whose own
//! snapshot is older. And it takes no predicate locks: what a SERIALIZABLE transaction reads here is not the client's.

use pgrx::{FromDatum, IntoDatum, pg_sys};
use std::ffi::CString;

/// Value that an indexed column must equal.
#[derive(Clone, Copy)]
pub enum Key<'a> {
    /// A column of type `name`.
    Name(&'a str),
    /// A column of type `bigint`.
    Int8(i64),
    /// A column of type `oid`.
    Oid(pg_sys::Oid),
}

/// One row, taken apart.
pub struct Row {
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl Row {
    /// The value of a column (from 1), or None for NULL. The column must be of the type asked for.
    pub fn get<T: FromDatum>(&self, column: usize) -> Option<T> {
        let at = column.checked_sub(1)?;
        // SAFETY: the datum lives as long as the scan that is at this row, and its type is the caller's word,
        // which the callers in `directory` take from the one SQL script that makes the tables.
        unsafe { T::from_datum(*self.values.get(at)?, *self.nulls.get(at)?) }
    }

    /// A column of type `name`.
    pub fn name(&self, column: usize) -> Option<String> {
        let at = column.checked_sub(1)?;
        if *self.nulls.get(at)? {
            return None;
        }
        let name = self.values.get(at)?.cast_mut_ptr::<pg_sys::NameData>();
        // SAFETY: as in `get`; a NameData ends with a NUL.
        let text = unsafe { std::ffi::CStr::from_ptr((*name).data.as_ptr()) };
        Some(text.to_string_lossy().into_owned())
    }
}

/// Relation of this name, if it exists.
pub fn relation(schema: &str, name: &str) -> Option<pg_sys::Oid> {
    let (schema, name) = (CString::new(schema).ok()?, CString::new(name).ok()?);
    // SAFETY: both texts end with NUL and outlive the calls, which only look into the system caches.
    unsafe {
        let namespace = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        if namespace == pg_sys::InvalidOid {
            return None;
        }
        let oid = pg_sys::get_relname_relid(name.as_ptr(), namespace);
        (oid != pg_sys::InvalidOid).then_some(oid)
    }
}

/// Every row of `table` whose first columns of `index` equal `keys`; without keys, all rows.
pub fn scan<T>(
    table: pg_sys::Oid,
    index: pg_sys::Oid,
    keys: &[(i16, Key<'_>)],
    mut read: impl FnMut(&Row) -> T,
) -> Vec<T> {
    let names: Vec<Option<CString>> = keys
        .iter()
        .map(|(_, key)| match key {
            Key::Name(name) => CString::new(*name).ok(),
            _ => None,
        })
        .collect();
    let mut found = Vec::new();
    // SAFETY: the relation is opened and closed here, with the lock kept to the end of the transaction as for
    // every catalog; `keys` and `names` outlive the scan; an error raised on the way releases both through
    // the resource owner.
    unsafe {
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let relation = pg_sys::table_open(table, lock);
        let mut entries: Vec<pg_sys::ScanKeyData> = keys
            .iter()
            .zip(&names)
            .map(|((column, key), name)| scan_key(*column, key, name.as_ref()))
            .collect();
        let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetCatalogSnapshot(table));
        // All versions of the rows; which one counts is seen below. A scan that looks for itself takes predicate locks.
        let scan = pg_sys::systable_beginscan(
            relation,
            index,
            index != pg_sys::InvalidOid,
            &raw mut pg_sys::SnapshotAnyData,
            entries.len() as i32,
            entries.as_mut_ptr(),
        );
        let descriptor = (*relation).rd_att;
        let columns = (*descriptor).natts as usize;
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            if !is_seen(relation, (*scan).slot, snapshot) {
                continue;
            }
            let mut row =
                Row { values: vec![pg_sys::Datum::null(); columns], nulls: vec![true; columns] };
            pg_sys::heap_deform_tuple(
                tuple,
                descriptor,
                row.values.as_mut_ptr(),
                row.nulls.as_mut_ptr(),
            );
            found.push(read(&row));
        }
        pg_sys::systable_endscan(scan);
        pg_sys::UnregisterSnapshot(snapshot);
        pg_sys::table_close(relation, lock);
    }
    found
}

/// Whether a snapshot shows the row version in a slot.
///
/// # Safety
/// The slot is that of a scan of this relation, at a row.
unsafe fn is_seen(
    relation: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    snapshot: pg_sys::Snapshot,
) -> bool {
    // SAFETY: by the caller's promise; every table has an access method with this function, which raises errors of its
    // own, and the closure owns nothing.
    unsafe {
        let satisfies = (*(*relation).rd_tableam).tuple_satisfies_snapshot;
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            satisfies.is_some_and(|satisfies| satisfies(relation, slot, snapshot))
        })
    }
}

/// # Safety
/// `name` must outlive the key.
unsafe fn scan_key(column: i16, key: &Key<'_>, name: Option<&CString>) -> pg_sys::ScanKeyData {
    let (function, datum) = match key {
        Key::Name(_) => {
            let text = name.map_or(c"".as_ptr(), |name| name.as_ptr());
            (pg_sys::F_NAMEEQ, pg_sys::Datum::from(text))
        }
        Key::Int8(value) => (pg_sys::F_INT8EQ, pg_sys::Datum::from(*value)),
        Key::Oid(value) => (pg_sys::F_OIDEQ, value.into_datum().unwrap_or(pg_sys::Datum::null())),
    };
    // SAFETY: a zeroed ScanKeyData is what ScanKeyInit fills; nameeq compares as C strings of at most 64 bytes.
    unsafe {
        let mut entry: pg_sys::ScanKeyData = std::mem::zeroed();
        pg_sys::ScanKeyInit(
            &mut entry,
            column,
            pg_sys::BTEqualStrategyNumber as u16,
            function.into(),
            datum,
        );
        entry
    }
}

/// Databases that a worker can connect to.
pub fn databases() -> Vec<u32> {
    /// Column of `datconnlimit`, which is -2 where DROP DATABASE was interrupted.
    const LIMIT: usize = if cfg!(any(feature = "pg15", feature = "pg16")) { 8 } else { 9 };
    let rows = scan(pg_sys::DatabaseRelationId, pg_sys::InvalidOid, &[], |row| {
        let template = row.get::<bool>(6) != Some(false);
        let connectable = row.get::<bool>(7) == Some(true) && row.get::<i32>(LIMIT) != Some(-2);
        row.get::<pg_sys::Oid>(1).filter(|_| connectable && !template)
    });
    rows.into_iter().flatten().map(|oid| oid.to_u32()).collect()
}
