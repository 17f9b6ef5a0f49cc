//! WITH queries that only one other WITH query reads: they can as well be in its own WITH list.

use crate::pg::tree::survey::query_tree_walker;
use crate::pg::tree::{QueryTree, list};
use pgrx::pg_sys::{self, NodeTag};
use std::ffi::{CStr, c_int, c_void};
use std::ptr;

/// A search for references to a WITH query of the statement around a query, which become references to its own WITH list.
struct References<'a> {
    name: &'a CStr,
    /// Levels of queries between the one searched and the entry.
    depth: pg_sys::Index,
    found: bool,
}

/// Moves WITH queries of a statement into the WITH list of the one with this number, from 0: those that it reads, and those that
/// they read, unless something else reads them, too.
pub fn move_into(statement: QueryTree<'_>, number: usize) {
    // SAFETY: a valid query that the caller lets us change, whose list is of CommonTableExpr, each with an analyzed query.
    unsafe {
        let query = statement.as_ptr();
        let all: Vec<_> = list::iter::<pg_sys::CommonTableExpr>((*query).cteList).collect();
        let Some(&entry) = all.get(number) else { return };
        let reader = (*entry).ctequery.cast::<pg_sys::Query>();
        let mut stay: *mut pg_sys::List = ptr::null_mut();
        // What a query reads stands before it, so the last come first.
        for &cte in all.iter().rev() {
            if ptr::eq(cte, entry) || !take(reader, cte) {
                stay = pg_sys::lcons(cte.cast(), stay);
            }
        }
        (*query).cteList = stay;
    }
}

/// Moves a WITH query into the list of its only reader; false if that is another.
unsafe fn take(reader: *mut pg_sys::Query, cte: *mut pg_sys::CommonTableExpr) -> bool {
    // SAFETY: by the caller: both belong to one valid statement.
    unsafe {
        let name = CStr::from_ptr((*cte).ctename);
        let mut own = list::iter::<pg_sys::CommonTableExpr>((*reader).cteList);
        let is_taken = own.any(|own| CStr::from_ptr((*own).ctename) == name);
        if (*cte).cterefcount != 1 || (*cte).cterecursive || is_taken {
            return false;
        }
        let mut references = References { name, depth: 0, found: false };
        search(reader, &mut references);
        if references.found {
            let inner = (*cte).ctequery.cast::<pg_sys::Query>();
            pg_sys::IncrementVarSublevelsUp(inner.cast(), 1, 1);
            (*reader).hasModifyingCTE |= (*inner).commandType != pg_sys::CmdType::CMD_SELECT;
            (*reader).cteList = pg_sys::lcons(cte.cast(), (*reader).cteList);
        }
        references.found
    }
}

unsafe fn search(query: *mut pg_sys::Query, references: &mut References<'_>) {
    let flags = pg_sys::QTW_EXAMINE_RTES_BEFORE as c_int;
    // SAFETY: by the caller, a valid query; the context outlives the walk.
    unsafe { query_tree_walker(query, visit, ptr::from_mut(references).cast(), flags) };
}

unsafe extern "C-unwind" fn visit(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: PostgreSQL walks a valid tree; `context` is that of `search`; the casts follow the tags.
    unsafe {
        let references = &mut *context.cast::<References<'_>>();
        match (*node).type_ {
            // The walker itself goes on into the entry.
            NodeTag::T_RangeTblEntry => {
                let entry = &mut *node.cast::<pg_sys::RangeTblEntry>();
                if entry.rtekind == pg_sys::RTEKind::RTE_CTE
                    && entry.ctelevelsup == references.depth + 1
                    && CStr::from_ptr(entry.ctename) == references.name
                {
                    references.found = true;
                    entry.ctelevelsup = references.depth;
                }
                false
            }
            NodeTag::T_Query => {
                references.depth += 1;
                search(node.cast(), references);
                references.depth -= 1;
                false
            }
            _ => crate::pg::tree::survey::expression_tree_walker(node, visit, context),
        }
    }
}
