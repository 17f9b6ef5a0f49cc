//! The queries within a query.

use crate::pg::tree::list;
use crate::pg::tree::survey::{expression_tree_walker, query_tree_walker};
use pgrx::pg_sys::{self, NodeTag};
use std::ffi::{c_int, c_void};

/// Where a query has its subqueries in FROM (branches of a set operation among them), in WITH and in expressions, but not those
/// within them.
///
/// # Safety
/// `query` is valid, and is not changed while the places are used.
pub(in crate::pg) unsafe fn of(query: *mut pg_sys::Query) -> Vec<*mut *mut pg_sys::Query> {
    let mut places: Vec<*mut *mut pg_sys::Query> = Vec::new();
    // SAFETY: by the caller's promise; the casts follow the kinds of the entries.
    unsafe {
        for number in entries_in_from(query) {
            let entry = list::nth::<pg_sys::RangeTblEntry>((*query).rtable, number - 1);
            if (*entry).rtekind == pg_sys::RTEKind::RTE_SUBQUERY {
                places.push(&raw mut (*entry).subquery);
            }
        }
        for cte in list::iter::<pg_sys::CommonTableExpr>((*query).cteList) {
            places.push((&raw mut (*cte).ctequery).cast());
        }
        let mut links: Vec<*mut pg_sys::SubLink> = Vec::new();
        let flags = pg_sys::QTW_IGNORE_RC_SUBQUERIES as c_int;
        query_tree_walker(query, collect_links, (&raw mut links).cast(), flags);
        places.extend(links.into_iter().map(|link| (&raw mut (*link).subselect).cast()));
    }
    places
}

/// Numbers of the range table entries that FROM names; others are there for their privileges.
///
/// # Safety
/// `query` is valid.
pub(in crate::pg) unsafe fn entries_in_from(query: *mut pg_sys::Query) -> Vec<usize> {
    unsafe extern "C-unwind" fn collect(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
        if node.is_null() {
            return false;
        }
        // SAFETY: PostgreSQL walks a valid tree; `context` is the vector below; the casts follow the tags.
        unsafe {
            match (*node).type_ {
                NodeTag::T_RangeTblRef => {
                    let number = (*node.cast::<pg_sys::RangeTblRef>()).rtindex;
                    (*context.cast::<Vec<usize>>()).push(number as usize);
                    false
                }
                NodeTag::T_List
                | NodeTag::T_FromExpr
                | NodeTag::T_JoinExpr
                | NodeTag::T_SetOperationStmt => expression_tree_walker(node, collect, context),
                _ => false,
            }
        }
    }
    let mut numbers: Vec<usize> = Vec::new();
    // SAFETY: a valid query.
    unsafe {
        collect((*query).jointree.cast(), (&raw mut numbers).cast());
        collect((*query).setOperations, (&raw mut numbers).cast());
    }
    numbers
}

unsafe extern "C-unwind" fn collect_links(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: PostgreSQL walks a valid tree; `context` is the vector of `of`; the cast follows the tag.
    unsafe {
        match (*node).type_ {
            NodeTag::T_SubLink => {
                let link = node.cast::<pg_sys::SubLink>();
                (*context.cast::<Vec<*mut pg_sys::SubLink>>()).push(link);
                collect_links((*link).testexpr, context)
            }
            NodeTag::T_Query => false,
            _ => expression_tree_walker(node, collect_links, context),
        }
    }
}

/// Whether a query only reads, and nothing in it refers to the queries around it.
///
/// # Safety
/// `query` is valid.
pub(in crate::pg) unsafe fn is_complete(query: *mut pg_sys::Query) -> bool {
    // SAFETY: a valid query.
    unsafe { !changes_or_locks(query) && is_closed(query) }
}

/// Whether a query changes or locks rows.
///
/// # Safety
/// `query` is valid.
pub(in crate::pg) unsafe fn changes_or_locks(query: *mut pg_sys::Query) -> bool {
    // SAFETY: a valid query.
    unsafe {
        (*query).commandType != pg_sys::CmdType::CMD_SELECT
            || (*query).hasModifyingCTE
            || !(*query).rowMarks.is_null()
    }
}

/// Whether nothing in a query refers to the queries around it.
///
/// # Safety
/// `query` is valid.
pub(in crate::pg) unsafe fn is_closed(query: *mut pg_sys::Query) -> bool {
    let mut depth: pg_sys::Index = 0;
    // SAFETY: a valid query; the context outlives the walk.
    unsafe {
        let flags = pg_sys::QTW_EXAMINE_RTES_BEFORE as c_int;
        !query_tree_walker(query, refers_outside, (&raw mut depth).cast(), flags)
    }
}

/// The columns that a query gives: those of its RETURNING clause if it changes rows.
///
/// # Safety
/// `query` is valid.
pub(in crate::pg) unsafe fn columns(query: *mut pg_sys::Query) -> *mut pg_sys::List {
    // SAFETY: by the caller's promise.
    unsafe {
        match (*query).commandType {
            pg_sys::CmdType::CMD_SELECT => (*query).targetList,
            _ => (*query).returningList,
        }
    }
}

/// Lets a query that gives no columns give one, which is NULL.
///
/// # Safety
/// `query` is valid and ours to change.
pub(in crate::pg) unsafe fn return_something(query: *mut pg_sys::Query) {
    // SAFETY: by the caller's promise.
    unsafe {
        let mut given = list::iter::<pg_sys::TargetEntry>(columns(query));
        if given.any(|entry| !(*entry).resjunk) {
            return;
        }
        let number = list::len(columns(query)) as pg_sys::AttrNumber + 1;
        let value = pg_sys::makeNullConst(pg_sys::INT4OID, -1, pg_sys::Oid::INVALID);
        let name = crate::pg::tree::parse_nodes::palloc_text("column_1");
        let entry = pg_sys::makeTargetEntry(value.cast(), number, name, false);
        let columns = match (*query).commandType {
            pg_sys::CmdType::CMD_SELECT => &mut (*query).targetList,
            _ => &mut (*query).returningList,
        };
        *columns = pg_sys::lappend(*columns, entry.cast());
    }
}

unsafe extern "C-unwind" fn refers_outside(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: PostgreSQL walks a valid tree; `context` is the depth of `is_complete`; the casts follow the tags.
    unsafe {
        let depth = context.cast::<pg_sys::Index>();
        match (*node).type_ {
            NodeTag::T_Var => (*node.cast::<pg_sys::Var>()).varlevelsup > *depth,
            // The walker itself goes on into the entry.
            NodeTag::T_RangeTblEntry => {
                let entry = &*node.cast::<pg_sys::RangeTblEntry>();
                entry.rtekind == pg_sys::RTEKind::RTE_CTE && entry.ctelevelsup > *depth
                    || entry.rtekind == pg_sys::RTEKind::RTE_NAMEDTUPLESTORE
            }
            NodeTag::T_Aggref if (*node.cast::<pg_sys::Aggref>()).agglevelsup > *depth => true,
            NodeTag::T_GroupingFunc
                if (*node.cast::<pg_sys::GroupingFunc>()).agglevelsup > *depth =>
            {
                true
            }
            NodeTag::T_Query => {
                *depth += 1;
                let flags = pg_sys::QTW_EXAMINE_RTES_BEFORE as c_int;
                let refers = query_tree_walker(node.cast(), refers_outside, context, flags);
                *depth -= 1;
                refers
            }
            _ => expression_tree_walker(node, refers_outside, context),
        }
    }
}
