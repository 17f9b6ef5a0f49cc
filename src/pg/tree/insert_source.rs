//! INSERT whose values come from one subquery.
//!
//! The rewriter adds defaults to the target list of an INSERT, beside the columns of its SELECT or VALUES, which PostgreSQL does
//! not deparse to valid text. Here all values become columns of one subquery, from which the SELECT or VALUES is read.

use crate::error::Result;
use crate::pg::tree::list;
use crate::pg::tree::make::node;
use pgrx::pg_sys::{self, NodeTag};
use std::ffi::c_int;
use std::ptr;

/// Whether the text of a rewritten INSERT needs the subquery: it reads from something, and gives more than its columns.
///
/// # Safety
/// `query` is valid.
pub(in crate::pg) unsafe fn is_needed(query: *mut pg_sys::Query) -> bool {
    // SAFETY: by the caller's promise.
    unsafe {
        let Some(number) = self::number(query) else { return false };
        let entry = list::nth::<pg_sys::RangeTblEntry>((*query).rtable, number - 1);
        let given = match (*entry).rtekind {
            pg_sys::RTEKind::RTE_SUBQUERY => {
                list::iter::<pg_sys::TargetEntry>((*(*entry).subquery).targetList)
                    .filter(|&column| !(*column).resjunk)
                    .count()
            }
            pg_sys::RTEKind::RTE_VALUES => list::len((*entry).coltypes),
            _ => return false,
        };
        let mut next = 1;
        for target in values(query) {
            let var = (*target).expr.cast::<pg_sys::Var>();
            if (*var).xpr.type_ != NodeTag::T_Var || i32::from((*var).varattno) != next {
                return true;
            }
            next += 1;
        }
        given as i32 + 1 != next
    }
}

/// The entries of an INSERT's target list that have a value in SQL; the defaults of identity columns have none.
///
/// # Safety
/// `query` is valid.
pub(in crate::pg) unsafe fn values(
    query: *mut pg_sys::Query,
) -> impl Iterator<Item = *mut pg_sys::TargetEntry> {
    // SAFETY: by the caller's promise: the target list is of TargetEntry.
    unsafe {
        list::iter::<pg_sys::TargetEntry>((*query).targetList).filter(|&entry| {
            let value = (*entry).expr.cast::<pg_sys::Node>();
            !value.is_null() && (*value).type_ != NodeTag::T_NextValueExpr
        })
    }
}

/// The number of what an INSERT reads its rows from.
///
/// # Safety
/// `query` is a valid INSERT.
pub(in crate::pg) unsafe fn number(query: *mut pg_sys::Query) -> Option<usize> {
    // SAFETY: a valid query; an INSERT has at most one item in FROM, a reference to an entry.
    unsafe {
        let from = (*(*query).jointree).fromlist;
        if from.is_null() {
            return None;
        }
        let item = list::nth::<pg_sys::RangeTblRef>(from, 0);
        ((*item).type_ == NodeTag::T_RangeTblRef).then(|| (*item).rtindex as usize)
    }
}

/// Makes the subquery, of which the target list has the columns then.
///
/// # Safety
/// `query` is an INSERT, and ours to change.
pub(in crate::pg) unsafe fn make(query: *mut pg_sys::Query) -> *mut pg_sys::Query {
    // SAFETY: by the caller's promise; what is made are complete nodes.
    unsafe {
        let source = node::<pg_sys::Query>(NodeTag::T_Query);
        (*source).commandType = pg_sys::CmdType::CMD_SELECT;
        (*source).canSetTag = true;
        (*source).hasSubLinks = (*query).hasSubLinks;
        let number = self::number(query);
        let entry = match number {
            Some(number) => {
                let entry = list::nth::<pg_sys::RangeTblEntry>((*query).rtable, number - 1);
                let moved = pg_sys::copyObjectImpl(entry.cast()).cast::<pg_sys::RangeTblEntry>();
                // What refers to the WITH queries of the INSERT is one level deeper then.
                match (*moved).rtekind {
                    pg_sys::RTEKind::RTE_SUBQUERY => {
                        pg_sys::IncrementVarSublevelsUp((*moved).subquery.cast(), 1, 1);
                    }
                    _ => pg_sys::IncrementVarSublevelsUp((*moved).values_lists.cast(), 1, 0),
                }
                (*moved).inFromCl = true;
                (*source).rtable = pg_sys::lappend(ptr::null_mut(), moved.cast());
                entry.write_bytes(0, 1);
                entry
            }
            None => {
                let entry = pg_sys::palloc0(size_of::<pg_sys::RangeTblEntry>());
                (*query).rtable = pg_sys::lappend((*query).rtable, entry);
                let reference = node::<pg_sys::RangeTblRef>(NodeTag::T_RangeTblRef);
                (*reference).rtindex = list::len((*query).rtable) as c_int;
                (*(*query).jointree).fromlist = pg_sys::lappend(ptr::null_mut(), reference.cast());
                entry.cast()
            }
        };
        let varno = number.unwrap_or_else(|| list::len((*query).rtable)) as c_int;
        let reference = node::<pg_sys::RangeTblRef>(NodeTag::T_RangeTblRef);
        (*reference).rtindex = 1;
        let from = match number {
            Some(_) => pg_sys::lappend(ptr::null_mut(), reference.cast()),
            None => ptr::null_mut(),
        };
        (*source).jointree = pg_sys::makeFromExpr(from, ptr::null_mut());
        let mut names: *mut pg_sys::List = ptr::null_mut();
        for target in values(query) {
            // The server that runs the text makes the values fit their columns, which rejects what a cast would cut off.
            let value = pg_sys::strip_implicit_coercions((*target).expr.cast());
            match number {
                // Columns and defaults, in which there are no subqueries.
                Some(_) => pg_sys::ChangeVarNodes(value, varno, 1, 0),
                None => pg_sys::IncrementVarSublevelsUp(value, 1, 0),
            }
            let column = list::len((*source).targetList) as pg_sys::AttrNumber + 1;
            let given = pg_sys::makeTargetEntry(value.cast(), column, (*target).resname, false);
            (*source).targetList = pg_sys::lappend((*source).targetList, given.cast());
            names = pg_sys::lappend(names, pg_sys::makeString((*target).resname).cast());
            let (of_type, modifier) = (pg_sys::exprType(value), pg_sys::exprTypmod(value));
            let collation = pg_sys::exprCollation(value);
            (*target).expr = pg_sys::makeVar(varno, column, of_type, modifier, collation, 0).cast();
        }
        (*entry).type_ = NodeTag::T_RangeTblEntry;
        (*entry).rtekind = pg_sys::RTEKind::RTE_SUBQUERY;
        (*entry).subquery = source;
        (*entry).alias = pg_sys::makeAlias(c"given".as_ptr(), ptr::null_mut());
        (*entry).eref = pg_sys::makeAlias(c"given".as_ptr(), names);
        (*entry).inFromCl = true;
        source
    }
}

/// A query that gives the values of an INSERT's source that do not stay there, and the entries of the source that have them.
///
/// # Safety
/// `source` was made by [`make`], and reads from nothing.
pub(in crate::pg) unsafe fn take_values(
    source: *mut pg_sys::Query,
    stays: &dyn Fn(*mut pg_sys::Node) -> Result<bool>,
) -> Result<(*mut pg_sys::Query, Vec<*mut pg_sys::TargetEntry>)> {
    // SAFETY: by the caller's promise; what is made are complete nodes.
    unsafe {
        let values = node::<pg_sys::Query>(NodeTag::T_Query);
        (*values).commandType = pg_sys::CmdType::CMD_SELECT;
        (*values).canSetTag = true;
        (*values).hasSubLinks = (*source).hasSubLinks;
        (*values).jointree = pg_sys::makeFromExpr(ptr::null_mut(), ptr::null_mut());
        let mut taken: Vec<*mut pg_sys::TargetEntry> = Vec::new();
        for entry in list::iter::<pg_sys::TargetEntry>((*source).targetList) {
            let value = (*entry).expr.cast::<pg_sys::Node>();
            if stays(value)? {
                continue;
            }
            let number = taken.len() as pg_sys::AttrNumber + 1;
            let copy = pg_sys::copyObjectImpl(value.cast());
            let column = pg_sys::makeTargetEntry(copy.cast(), number, (*entry).resname, false);
            (*values).targetList = pg_sys::lappend((*values).targetList, column.cast());
            taken.push(entry);
        }
        Ok((values, taken))
    }
}

/// Lets an INSERT's source read such values from `rows`, a query that gives them.
///
/// # Safety
/// As for [`take_values`], which has given `taken`.
pub(in crate::pg) unsafe fn read_values(
    source: *mut pg_sys::Query,
    taken: &[*mut pg_sys::TargetEntry],
    rows: *mut pg_sys::Query,
) {
    // SAFETY: by the caller's promise.
    unsafe {
        (*source).rtable = (*rows).rtable;
        (*source).jointree = (*rows).jointree;
        let columns = list::iter::<pg_sys::TargetEntry>((*rows).targetList);
        for (&entry, column) in taken.iter().zip(columns) {
            (*entry).expr = (*column).expr;
        }
    }
}
