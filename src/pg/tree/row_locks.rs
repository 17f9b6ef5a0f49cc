//! FOR UPDATE and its like on tables whose rows are elsewhere, within a plan that PostgreSQL makes: the node locks the rows that
//! it gives. The clause moves from the query to the table's range table entry, where the part's query finds it.
//!
//! postgres_fdw does the same: a row is locked when it is read, so one that the rest of the statement drops stays locked.

use crate::error::Result;
use crate::pg::tree::survey::{expression_tree_walker, query_tree_walker};
use crate::pg::tree::{QueryTree, list};
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::ffi::c_void;
use std::ptr;

/// What the walk finds.
#[derive(Default)]
struct Found {
    /// Queries that lock rows.
    queries: Vec<*mut pg_sys::Query>,
    outer_joins: bool,
}

/// Moves the clauses for tables that are elsewhere, at any depth, and tells whether there were any; changes the tree.
///
/// Errors: 0A000 from the planner for a table on the nullable side of an outer join, which cannot be locked.
pub fn move_to_tables(
    query: QueryTree<'_>,
    is_elsewhere: &mut dyn FnMut(Oid) -> Result<bool>,
) -> Result<bool> {
    let mut moved = false;
    let mut found = Found::default();
    // SAFETY: a valid query, which the caller lets us change; the context outlives the walk.
    unsafe {
        collect(query.as_ptr().cast(), (&raw mut found).cast());
        if found.outer_joins && !found.queries.is_empty() {
            // Which sides are nullable is known after the planner has reduced outer joins; it will not see the clauses.
            let copy = pg_sys::copyObjectImpl(query.as_ptr().cast()).cast();
            pg_sys::standard_planner(copy, ptr::null(), 0, ptr::null_mut());
        }
        for query in found.queries {
            let mut kept: *mut pg_sys::List = ptr::null_mut();
            for mark in list::iter::<pg_sys::RowMarkClause>((*query).rowMarks) {
                let number = (*mark).rti as usize - 1;
                let entry = list::nth::<pg_sys::RangeTblEntry>((*query).rtable, number);
                if (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION
                    && is_elsewhere((*entry).relid)?
                {
                    moved = true;
                    (*entry).values_lists = pg_sys::lappend(ptr::null_mut(), mark.cast());
                } else {
                    kept = pg_sys::lappend(kept, mark.cast());
                }
            }
            (*query).rowMarks = kept;
            (*query).hasForUpdate = !kept.is_null();
        }
    }
    Ok(moved)
}

unsafe extern "C-unwind" fn collect(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: PostgreSQL walks a valid tree; `context` is what `move_to_tables` found; the casts follow the tags.
    unsafe {
        let found = &mut *context.cast::<Found>();
        if (*node).type_ == NodeTag::T_JoinExpr {
            let kind = (*node.cast::<pg_sys::JoinExpr>()).jointype;
            found.outer_joins |= kind != pg_sys::JoinType::JOIN_INNER;
        }
        if (*node).type_ != NodeTag::T_Query {
            return expression_tree_walker(node, collect, context);
        }
        let query = node.cast::<pg_sys::Query>();
        if !(*query).rowMarks.is_null() {
            found.queries.push(query);
        }
        query_tree_walker(query, collect, context, 0)
    }
}

/// The clause that was moved to an entry.
///
/// # Safety
/// `entry` is valid.
pub(in crate::pg) unsafe fn of_entry(
    entry: *const pg_sys::RangeTblEntry,
) -> Option<*mut pg_sys::RowMarkClause> {
    // SAFETY: by the caller's promise: an entry of a relation has no other use for the field.
    unsafe {
        let moved =
            (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION && !(*entry).values_lists.is_null();
        moved.then(|| list::nth::<pg_sys::RowMarkClause>((*entry).values_lists, 0))
    }
}
