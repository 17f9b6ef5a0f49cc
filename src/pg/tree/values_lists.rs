//! The columns of VALUES as their deparsed text has them: without the coercions to the columns of the table that is inserted into.

use crate::error::{Error, Result};
use crate::pg::tree::list;
use crate::pg::tree::make::node;
use pgrx::pg_sys::{self, NodeTag, Oid, errcodes::PgSqlErrorCode as Code};
use std::ptr;

/// Type, modifier and collation of each column.
///
/// Errors: 0A000 if the rows have different types in a column.
///
/// # Safety
/// `entry` is a valid range table entry of VALUES.
unsafe fn types(entry: *const pg_sys::RangeTblEntry) -> Result<Vec<(Oid, i32, Oid)>> {
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

/// A query that selects from VALUES.
///
/// Errors: 0A000 as for [`types`].
///
/// # Safety
/// `entry` is a valid range table entry of VALUES.
pub(super) unsafe fn rows(entry: *const pg_sys::RangeTblEntry) -> Result<*mut pg_sys::Query> {
    // SAFETY: by the caller's promise; what is made are complete nodes.
    unsafe {
        let rows = node::<pg_sys::Query>(NodeTag::T_Query);
        (*rows).commandType = pg_sys::CmdType::CMD_SELECT;
        (*rows).canSetTag = true;
        (*rows).rtable =
            pg_sys::lappend(ptr::null_mut(), pg_sys::copyObjectImpl(entry.cast()).cast());
        let reference = node::<pg_sys::RangeTblRef>(NodeTag::T_RangeTblRef);
        (*reference).rtindex = 1;
        let from = pg_sys::lappend(ptr::null_mut(), reference.cast());
        (*rows).jointree = pg_sys::makeFromExpr(from, ptr::null_mut());
        let types = types(entry)?;
        for (i, (of_type, modifier, collation)) in types.into_iter().enumerate() {
            let number = i as pg_sys::AttrNumber + 1;
            let var = pg_sys::makeVar(1, number, of_type, modifier, collation, 0);
            let name = list::nth::<pg_sys::String>((*(*entry).eref).colnames, i);
            let name = pg_sys::pstrdup((*name).sval);
            let column = pg_sys::makeTargetEntry(var.cast(), number, name, false);
            (*rows).targetList = pg_sys::lappend((*rows).targetList, column.cast());
        }
        Ok(rows)
    }
}

/// Makes the entry a subquery.
///
/// # Safety
/// `entry` is ours to change, and `query` gives its columns.
pub(super) unsafe fn replace(entry: *mut pg_sys::RangeTblEntry, query: *mut pg_sys::Query) {
    // SAFETY: by the caller's promise.
    unsafe {
        let names = (*(*entry).eref).colnames;
        entry.write_bytes(0, 1);
        (*entry).type_ = NodeTag::T_RangeTblEntry;
        (*entry).rtekind = pg_sys::RTEKind::RTE_SUBQUERY;
        (*entry).subquery = query;
        (*entry).alias = pg_sys::makeAlias(c"listed".as_ptr(), ptr::null_mut());
        (*entry).eref = pg_sys::makeAlias(c"listed".as_ptr(), names);
        (*entry).inFromCl = true;
    }
}
