//! Reads rows of ordinary tables like PostgreSQL reads its own catalogs: through an index, with a snapshot taken at
//! that time. So the rows are current even inside a statement with an older snapshot, and no predicate locks are taken,
//! because these reads are not part of the client's SERIALIZABLE transaction.
//!
//! Invariant: no value is read as a type that it does not have. A [`TableRow`] declares the columns that it needs and
//! their types; each scan looks them up in the descriptor of the open, locked table, and rejects a table that lacks
//! one. A [`Column`] can only be created for a column that its row declares with that type; others do not compile. So a
//! table that somebody has altered manually causes an error, wherever its columns are now.

use super::value::{KeyValue, Value, Writable};
use crate::error::{Error, Result};
use crate::pg::catalog::names;
use crate::pg::catalog::types::tuple_attribute;
use helios_core::columns::{ColumnDef, place};
use pgrx::pg_sys;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::ffi::CStr;
use std::marker::PhantomData;

/// The named column, with the PostgreSQL type of `V`.
pub const fn column_def<V: Value>(name: &'static str) -> ColumnDef {
    ColumnDef { name, type_oid: V::TYPE, type_name: V::TYPE_NAME }
}

/// A row of a table as a struct; implemented by [`catalog_table!`].
pub trait TableRow: Sized {
    /// Schema of the table.
    const SCHEMA: &'static str;
    /// Name of the table.
    const TABLE: &'static str;
    /// The columns that are used.
    const COLUMNS: &'static [ColumnDef];
    /// Converts a row.
    fn from_row(row: &Row<'_, Self>) -> Result<Self>;
}

/// Handle of a column of `R` that holds values of type `V`.
pub struct Column<R, V> {
    at: usize,
    of: PhantomData<fn() -> (R, V)>,
}

impl<R, V> Clone for Column<R, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, V> Copy for Column<R, V> {}

impl<R: TableRow, V: Value> Column<R, V> {
    /// The named column. In a constant, a name or type that `R` does not declare is a compile error.
    pub const fn named(name: &str) -> Self {
        Self { at: place(R::COLUMNS, name, V::TYPE), of: PhantomData }
    }
}

impl<R: TableRow, V: KeyValue> Column<R, V> {
    /// Restricts a scan to rows with this value in the column.
    pub fn equals(self, value: V) -> Key<R> {
        Key { at: self.at, function: V::EQUALS, value: value.datum(), of: PhantomData }
    }
}

impl<R: TableRow, V: Writable> Column<R, V> {
    /// Assigns a value to the column of a new row.
    pub fn set(self, value: V) -> Assignment<R> {
        Assignment { at: self.at, value: value.datum(), of: PhantomData }
    }
}

/// A scan key on rows of `R`; see [`Column::equals`].
pub struct Key<R> {
    at: usize,
    function: u32,
    value: pg_sys::Datum,
    of: PhantomData<fn() -> R>,
}

/// A column's value for a new row of `R`; see [`Column::set`].
pub struct Assignment<R> {
    pub(super) at: usize,
    pub(super) value: pg_sys::Datum,
    of: PhantomData<fn() -> R>,
}

/// The current row of a scan.
pub struct Row<'a, R> {
    numbers: &'a [usize],
    values: &'a [pg_sys::Datum],
    nulls: &'a [bool],
    of: PhantomData<fn() -> R>,
}

impl<R: TableRow> Row<'_, R> {
    /// The value of a column; XX001 for NULL if `V` cannot represent it.
    pub fn get<V: Value>(&self, column: Column<R, V>) -> Result<V> {
        let number = self.numbers[column.at];
        // SAFETY: the scan has found the column there, of type `V::TYPE`, and its row is still there.
        unsafe { V::read(self.values[number], self.nulls[number]) }.ok_or_else(|| {
            let column = R::COLUMNS[column.at].name;
            Error::new(
                Code::ERRCODE_DATA_CORRUPTED,
                format!("null value in column \"{column}\" of table {}.{}", R::SCHEMA, R::TABLE),
            )
        })
    }
}

/// All matching rows of one of PostgreSQL's own catalogs. Their columns are determined by the server's version, for
/// which the library is compiled, so a mismatch is raised like other errors in catalogs.
pub fn system_rows<R: TableRow>(catalog: u32, index: u32, keys: &[Key<R>]) -> Vec<R> {
    let rows = Table::at(catalog.into(), index.into()).rows(keys);
    rows.unwrap_or_else(|error| crate::pg::error::raise_from_guarded(error))
}

/// A table whose rows are read as `R`.
pub struct Table<R> {
    pub(super) relation: pg_sys::Oid,
    index: pg_sys::Oid,
    /// Rows are read that the transaction's snapshot shows, which may be older than now.
    as_transaction: bool,
    of: PhantomData<fn() -> R>,
}

impl<R> Clone for Table<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Table<R> {}

impl<R: TableRow> Table<R> {
    /// Finds the table, if it exists, for reading without an index.
    pub fn find() -> Option<Self> {
        Some(Self::at(names::relation(R::SCHEMA, R::TABLE)?, pg_sys::InvalidOid))
    }

    /// Finds the table with the named index, if it exists; without an index if that does not exist.
    pub fn find_by_index(index: &str) -> Option<Self> {
        let index = names::relation(R::SCHEMA, index).unwrap_or(pg_sys::InvalidOid);
        Self::find().map(|table| Self { index, ..table })
    }

    /// A table and one of its indexes, by OID.
    pub fn at(relation: pg_sys::Oid, index: pg_sys::Oid) -> Self {
        Self { relation, index, as_transaction: false, of: PhantomData }
    }

    /// The same table as the transaction's snapshot shows it.
    pub fn as_of_transaction(self) -> Self {
        Self { as_transaction: true, ..self }
    }

    /// The table's OID.
    pub fn oid(self) -> pg_sys::Oid {
        self.relation
    }

    /// All rows.
    pub fn all(self) -> Result<Vec<R>> {
        self.rows(&[])
    }

    /// The first matching row.
    pub fn first(self, keys: &[Key<R>]) -> Result<Option<R>> {
        Ok(self.rows(keys)?.into_iter().next())
    }

    /// All matching rows. With an index, the keys must be on its first columns.
    pub fn rows(self, keys: &[Key<R>]) -> Result<Vec<R>> {
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        // SAFETY: the relation is open, with a lock, until the end, and so is its descriptor; the keys hold what they
        // point to until they are dropped by the caller; errors that are raised on the way release everything through
        // the resource owner, and those that are values come after the scan was closed.
        unsafe {
            let relation = pg_sys::table_open(self.relation, lock);
            let found = match numbers::<R>(relation) {
                Ok(numbers) => self.scan(relation, &numbers, keys),
                Err(error) => Err(error),
            };
            pg_sys::table_close(relation, lock);
            found
        }
    }

    /// # Safety
    /// `relation` is this table, open; `numbers` are those of its columns.
    unsafe fn scan(
        self,
        relation: pg_sys::Relation,
        numbers: &[usize],
        keys: &[Key<R>],
    ) -> Result<Vec<R>> {
        // SAFETY: by the caller's promise; the key entries outlive the scan; an index is used only if it is the table's.
        unsafe {
            let is_ours = self.index != pg_sys::InvalidOid
                && pg_sys::IndexGetRelation(self.index, true) == self.relation;
            let index = if is_ours { self.index } else { pg_sys::InvalidOid };
            let mut entries: Vec<_> =
                keys.iter().map(|key| scan_key(numbers[key.at], key.function, key.value)).collect();
            let snapshot = pg_sys::RegisterSnapshot(if self.as_transaction {
                pg_sys::GetTransactionSnapshot()
            } else {
                pg_sys::GetCatalogSnapshot(self.relation)
            });
            // Scans all row versions and checks visibility below: a scan with an MVCC snapshot would take predicate
            // locks.
            let scan = pg_sys::systable_beginscan(
                relation,
                index,
                is_ours,
                &raw mut pg_sys::SnapshotAnyData,
                entries.len() as i32,
                entries.as_mut_ptr(),
            );
            let descriptor = (*relation).rd_att;
            let columns = (*descriptor).natts as usize;
            let (mut values, mut nulls) =
                (vec![pg_sys::Datum::null(); columns], vec![true; columns]);
            let (mut found, mut failed) = (Vec::new(), None);
            while failed.is_none() {
                let tuple = pg_sys::systable_getnext(scan);
                if tuple.is_null() {
                    break;
                }
                if !is_seen(relation, (*scan).slot, snapshot) {
                    continue;
                }
                let (to, null) = (values.as_mut_ptr(), nulls.as_mut_ptr());
                pg_sys::heap_deform_tuple(tuple, descriptor, to, null);
                let row = Row { numbers, values: &values, nulls: &nulls, of: PhantomData };
                match R::from_row(&row) {
                    Ok(row) => found.push(row),
                    Err(error) => failed = Some(error),
                }
            }
            pg_sys::systable_endscan(scan);
            pg_sys::UnregisterSnapshot(snapshot);
            failed.map_or(Ok(found), Err)
        }
    }

    /// Whether the table has all columns of `R`.
    pub fn fits(self) -> bool {
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        // SAFETY: the relation is open until its columns were looked up.
        unsafe {
            let relation = pg_sys::table_open(self.relation, lock);
            let fits = numbers::<R>(relation).is_ok();
            pg_sys::table_close(relation, lock);
            fits
        }
    }
}

/// Positions of the columns of `R` in the table, from 0; 55000 if one is missing or has another type.
///
/// # Safety
/// The relation `relation` is open.
pub(super) unsafe fn numbers<R: TableRow>(relation: pg_sys::Relation) -> Result<Vec<usize>> {
    // SAFETY: by the caller's promise: a descriptor has `natts` attributes, and names in it are NUL-terminated.
    unsafe {
        if (*(*relation).rd_rel).relkind as u8 != pg_sys::RELKIND_RELATION {
            return Err(mismatch::<R>("The relation is not an ordinary table.".to_owned()));
        }
        let descriptor = (*relation).rd_att;
        let find = |wanted: &ColumnDef| {
            let attribute = |number: &usize| {
                let attribute = &*tuple_attribute(descriptor, *number);
                let name = CStr::from_ptr(attribute.attname.data.as_ptr());
                !attribute.attisdropped && name.to_bytes() == wanted.name.as_bytes()
            };
            let number = (0..(*descriptor).natts as usize).find(attribute).ok_or_else(|| {
                mismatch::<R>(format!("The table has no column \"{}\".", wanted.name))
            })?;
            let found = (*tuple_attribute(descriptor, number)).atttypid;
            if found.to_u32() == wanted.type_oid {
                return Ok(number);
            }
            Err(mismatch::<R>(format!(
                "Column \"{}\" is of type {}, not {}.",
                wanted.name,
                CStr::from_ptr(pg_sys::format_type_be(found)).to_string_lossy(),
                wanted.type_name
            )))
        };
        R::COLUMNS.iter().map(find).collect()
    }
}

pub(super) fn mismatch<R: TableRow>(detail: String) -> Error {
    Error::new(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("unexpected definition of table {}.{}", R::SCHEMA, R::TABLE),
    )
    .detail(detail)
    .hint("If the extension's version is older than the library's, run ALTER EXTENSION helios UPDATE. If the table was \
        altered manually, undo that as a superuser after SET helios.migration_session = on.")
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
/// `function` compares values of the column's type, which `value` is, and what it points to outlives the key.
unsafe fn scan_key(number: usize, function: u32, value: pg_sys::Datum) -> pg_sys::ScanKeyData {
    // SAFETY: a zeroed ScanKeyData is what ScanKeyInit fills.
    unsafe {
        let mut entry: pg_sys::ScanKeyData = std::mem::zeroed();
        let strategy = pg_sys::BTEqualStrategyNumber as u16;
        pg_sys::ScanKeyInit(&mut entry, number as i16 + 1, strategy, function.into(), value);
        entry
    }
}

/// Declares a struct as the row of a table: each field is the column of the same name, with the field's type. Columns
/// after `by` are used as keys only.
macro_rules! catalog_table {
    ($(#[$doc:meta])* $vis:vis struct $row:ident: $schema:literal . $table:literal {
        $($(#[$note:meta])* $visibility:vis $field:ident: $type:ty,)*
    } $(by { $($key:ident: $key_type:ty,)+ })?) => {
        $(#[$doc])*
        $vis struct $row {
            $($(#[$note])* $visibility $field: $type,)*
        }

        impl $crate::pg::catalog::table::TableRow for $row {
            const SCHEMA: &'static str = $schema;
            const TABLE: &'static str = $table;
            const COLUMNS: &'static [helios_core::columns::ColumnDef] = &[
                $($crate::pg::catalog::table::column_def::<$type>(stringify!($field)),)*
                $($($crate::pg::catalog::table::column_def::<$key_type>(stringify!($key)),)+)?
            ];

            #[allow(unused_variables)] // a row without fields only has to be there
            fn from_row(row: &$crate::pg::catalog::table::Row<'_, Self>) -> $crate::error::Result<Self> {
                Ok(Self {
                    $($field: row.get(const {
                        $crate::pg::catalog::table::Column::<Self, $type>::named(stringify!($field))
                    })?,)*
                })
            }
        }
    };
}

pub(crate) use catalog_table;

#[cfg(test)]
mod tests {
    use super::{Column, TableRow};
    use crate::pg::catalog::value::Name;

    catalog_table! {
        /// A row of a table that does not exist.
        struct Sample: "helios"."sample" {} by {
            id: i64,
            name: Name,
            place: i32,
        }
    }

    #[test]
    fn columns_are_those_that_the_row_declares() {
        const ID: Column<Sample, i64> = Column::named("id");
        const PLACE: Column<Sample, i32> = Column::named("place");
        assert_eq!((Sample::COLUMNS[ID.at].name, Sample::COLUMNS[PLACE.at].name), ("id", "place"));
    }

    // In production, these calls are evaluated in constants at compile time.
    #[test]
    #[should_panic(expected = "another type")]
    fn a_column_is_not_read_as_another_type() {
        Column::<Sample, String>::named("name");
    }

    #[test]
    #[should_panic(expected = "does not declare")]
    fn a_column_that_is_not_declared_is_not_read() {
        Column::<Sample, i64>::named("shard");
    }
}
