//! The columns of VALUES as their deparsed text has them: without the coercions to the columns of the table that is inserted
//! into.

use crate::error::{Error, Result};
use crate::pg::tree::list;
use crate::pg::tree::make::node;
use pgrx::pg_sys::{self, NodeTag, Oid, errcodes::PgSqlErrorCode as Code};
use std::ptr;

/// Gives the values of a column one type if they have several: that of the column that they are inserted into.
///
/// Errors: 0A000 if there is none.
///
/// # Safety
/// `rows` is a list of lists of expressions, and is ours to change.
unsafe fn unify(rows: *mut pg_sys::List, column: usize) -> Result<()> {
    // SAFETY: by the caller's promise; what takes the place of a value is made of a copy.
    unsafe {
        let cells = || {
            list::iter::<pg_sys::List>(rows)
                .map(|row| (*row).elements.add(column).cast::<*mut pg_sys::Node>())
        };
        let bare = |cell: *mut *mut pg_sys::Node| {
            let value = pg_sys::strip_implicit_coercions(*cell);
            (value, pg_sys::exprType(value))
        };
        let Some(first) = cells().next() else { return Ok(()) };
        if cells().all(|cell| bare(cell).1 == bare(first).1) {
            return Ok(());
        }
        let common = pg_sys::getBaseType(pg_sys::exprType(*first));
        for cell in cells() {
            let (value, of_type) = bare(cell);
            let is_common = pg_sys::getBaseType(pg_sys::exprType(*cell)) == common;
            // Without the length of the column: a cast would cut off what the column rejects.
            let cast = pg_sys::coerce_to_target_type(
                ptr::null_mut(),
                pg_sys::copyObjectImpl(value.cast()).cast(),
                of_type,
                common,
                -1,
                pg_sys::CoercionContext::COERCION_ASSIGNMENT,
                pg_sys::CoercionForm::COERCE_EXPLICIT_CAST,
                -1,
            );
            if !is_common || cast.is_null() {
                return Err(Error::new(
                    Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                    format!("values of column {} have different types", column + 1),
                )
                .detail("Values that this server computes are sent to a node as rows of one type.")
                .hint("Cast the values to the same type."));
            }
            *cell = cast;
        }
        Ok(())
    }
}

/// Type, modifier and collation of each column.
///
/// # Safety
/// `rows` is a list of lists of expressions.
unsafe fn types(rows: *mut pg_sys::List) -> Vec<(Oid, i32, Oid)> {
    let mut types: Vec<(Oid, i32, Oid)> = Vec::new();
    // SAFETY: by the caller's promise.
    unsafe {
        for (row, values) in list::iter::<pg_sys::List>(rows).enumerate() {
            for (column, value) in list::iter::<pg_sys::Node>(values).enumerate() {
                let value = pg_sys::strip_implicit_coercions(value);
                let (of_type, modifier) = (pg_sys::exprType(value), pg_sys::exprTypmod(value));
                if row == 0 {
                    types.push((of_type, modifier, pg_sys::exprCollation(value)));
                } else if types[column].1 != modifier {
                    types[column].1 = -1;
                }
            }
        }
    }
    types
}

/// A query that selects from VALUES.
///
/// Errors: 0A000 if values of a column have different types, and are not inserted into one.
///
/// # Safety
/// `entry` is a valid range table entry of VALUES.
pub(super) unsafe fn rows(entry: *const pg_sys::RangeTblEntry) -> Result<*mut pg_sys::Query> {
    // SAFETY: by the caller's promise; what is made are complete nodes.
    unsafe {
        let copy = pg_sys::copyObjectImpl(entry.cast()).cast::<pg_sys::RangeTblEntry>();
        let rows = from_entry(copy);
        for column in 0..list::len((*copy).coltypes) {
            unify((*copy).values_lists, column)?;
        }
        for (i, (of_type, modifier, collation)) in
            types((*copy).values_lists).into_iter().enumerate()
        {
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

/// A query that selects nothing yet from an entry, which is its own.
unsafe fn from_entry(entry: *mut pg_sys::RangeTblEntry) -> *mut pg_sys::Query {
    // SAFETY: a valid entry; what is made are complete nodes.
    unsafe {
        let query = node::<pg_sys::Query>(NodeTag::T_Query);
        (*query).commandType = pg_sys::CmdType::CMD_SELECT;
        (*query).canSetTag = true;
        (*query).rtable = pg_sys::lappend(ptr::null_mut(), entry.cast());
        let reference = node::<pg_sys::RangeTblRef>(NodeTag::T_RangeTblRef);
        (*reference).rtindex = 1;
        let from = pg_sys::lappend(ptr::null_mut(), reference.cast());
        (*query).jointree = pg_sys::makeFromExpr(from, ptr::null_mut());
        query
    }
}

/// Makes the entry a subquery, and returns that.
///
/// # Safety
/// `entry` is ours to change, and `query` gives its columns.
pub(super) unsafe fn replace(
    entry: *mut pg_sys::RangeTblEntry,
    query: *mut pg_sys::Query,
) -> *mut pg_sys::Query {
    // SAFETY: by the caller's promise.
    unsafe {
        let mut names: *mut pg_sys::List = ptr::null_mut();
        for column in list::iter::<pg_sys::TargetEntry>((*query).targetList) {
            names = pg_sys::lappend(names, pg_sys::makeString((*column).resname).cast());
        }
        entry.write_bytes(0, 1);
        (*entry).type_ = NodeTag::T_RangeTblEntry;
        (*entry).rtekind = pg_sys::RTEKind::RTE_SUBQUERY;
        (*entry).subquery = query;
        (*entry).alias = pg_sys::makeAlias(c"listed".as_ptr(), ptr::null_mut());
        (*entry).eref = pg_sys::makeAlias(c"listed".as_ptr(), names);
        (*entry).inFromCl = true;
        query
    }
}
