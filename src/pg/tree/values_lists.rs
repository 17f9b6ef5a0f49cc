//! The columns of VALUES as their deparsed text has them: without the coercions to the columns of the table that is inserted into.

use crate::error::{Error, Result};
use crate::pg::tree::list;
use pgrx::pg_sys::{self, Oid, errcodes::PgSqlErrorCode as Code};

/// Type, modifier and collation of each column.
///
/// Errors: 0A000 if the rows have different types in a column.
///
/// # Safety
/// `entry` is a valid range table entry of VALUES.
pub(super) unsafe fn types(entry: *const pg_sys::RangeTblEntry) -> Result<Vec<(Oid, i32, Oid)>> {
    let mut types: Vec<(Oid, i32, Oid)> = Vec::new();
    // SAFETY: by the caller's promise: a list of lists of expressions.
    unsafe {
        for (row, values) in list::iter::<pg_sys::List>((*entry).values_lists).enumerate() {
            for (column, value) in list::iter::<pg_sys::Node>(values).enumerate() {
                let value = pg_sys::strip_implicit_coercions(value);
                let (of_type, modifier) = (pg_sys::exprType(value), pg_sys::exprTypmod(value));
                if row == 0 {
                    types.push((of_type, modifier, pg_sys::exprCollation(value)));
                    continue;
                }
                if types[column].0 != of_type {
                    return Err(Error::new(
                        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                        format!("values of column {} have different types", column + 1),
                    )
                    .detail(
                        "Values that this server computes are sent to a node as rows of one type.",
                    )
                    .hint("Cast the values to the same type."));
                }
                if types[column].1 != modifier {
                    types[column].1 = -1;
                }
            }
        }
    }
    Ok(types)
}
