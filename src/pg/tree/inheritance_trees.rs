//! Partitioned tables and inheritance trees that one node has: read there through their root, with its privileges and its
//! policies, as one server reads them.
//!
//! The planner would read member by member, each as if the statement had named it. So the tree is set aside, as
//! [`super::set_aside`] does it with subqueries, and its part of the plan selects from the root.

use crate::error::Result;
use crate::pg::tree::policies::{has_subclass, is_read_by_current_user};
use crate::pg::tree::set_aside::{self, SetAside};
use crate::pg::tree::survey::{expression_tree_walker, query_tree_walker};
use crate::pg::tree::{QueryTree, list, row_fence, row_locks, subqueries};
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::ffi::c_void;

/// Sets aside each tree in `query`, at any depth, all of whose members `are_on_one_node` by its root; changes the tree. Left alone
/// are those whose rows are changed or locked, or are read with a view owner's privileges, and those of which more is used than
/// columns: the planner knows of what member a row is. `function`: see [`set_aside::set_aside`].
pub fn set_aside_trees(
    query: QueryTree<'_>,
    function: Oid,
    are_on_one_node: &mut dyn FnMut(Oid) -> Result<bool>,
) -> Result<Vec<SetAside>> {
    let mut queries: Vec<*mut pg_sys::Query> = Vec::new();
    let mut found = Vec::new();
    // SAFETY: a valid query, which the caller lets us change; the context outlives the walk.
    unsafe {
        collect(query.as_ptr().cast(), (&raw mut queries).cast());
        for query in queries {
            for number in subqueries::entries_in_from(query) {
                let entry = list::nth::<pg_sys::RangeTblEntry>((*query).rtable, number - 1);
                if !is_readable_tree(query, number, entry) || !are_on_one_node((*entry).relid)? {
                    continue;
                }
                let whole = row_fence::wrap(query, number, entry);
                let root = list::nth::<pg_sys::RangeTblEntry>((*whole).rtable, 0);
                // The node applies them.
                (*root).securityQuals = std::ptr::null_mut();
                (*entry).subquery = set_aside::replacement(whole, function);
                found.push(SetAside::new(whole));
            }
        }
    }
    Ok(found)
}

unsafe extern "C-unwind" fn collect(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: PostgreSQL walks a valid tree; `context` is the vector of `set_aside_trees`; the cast follows the tag.
    unsafe {
        if (*node).type_ != NodeTag::T_Query {
            return expression_tree_walker(node, collect, context);
        }
        let query = node.cast::<pg_sys::Query>();
        (*context.cast::<Vec<*mut pg_sys::Query>>()).push(query);
        query_tree_walker(query, collect, context, 0)
    }
}

/// Whether an entry is the root of a tree of which a query only reads columns, with the privileges of whoever runs it.
unsafe fn is_readable_tree(
    query: *mut pg_sys::Query,
    number: usize,
    entry: *mut pg_sys::RangeTblEntry,
) -> bool {
    // SAFETY: a valid query and an entry of its range table.
    unsafe {
        (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION
            && (*entry).inh
            && (*entry).tablesample.is_null()
            && (*query).resultRelation as usize != number
            && row_locks::of_entry(entry).is_none()
            && !list::iter::<pg_sys::RowMarkClause>((*query).rowMarks)
                .any(|mark| (*mark).rti as usize == number)
            && has_subclass((*entry).relid)
            && is_read_by_current_user(query, entry)
            && !uses_more_than_columns(query, number)
    }
}

struct Uses {
    number: usize,
    /// How many queries the walk is below the one with the entry.
    depth: pg_sys::Index,
}

/// Whether whole rows or system columns of an entry are used.
unsafe fn uses_more_than_columns(query: *mut pg_sys::Query, number: usize) -> bool {
    let mut uses = Uses { number, depth: 0 };
    // SAFETY: a valid query; the context outlives the walk.
    unsafe { query_tree_walker(query, uses_more, (&raw mut uses).cast(), 0) }
}

unsafe extern "C-unwind" fn uses_more(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: PostgreSQL walks a valid tree; `context` is that of `uses_more_than_columns`; the casts follow the tags.
    unsafe {
        let uses = &mut *context.cast::<Uses>();
        match (*node).type_ {
            NodeTag::T_Query => {
                uses.depth += 1;
                let more = query_tree_walker(node.cast(), uses_more, context, 0);
                (*context.cast::<Uses>()).depth -= 1;
                more
            }
            NodeTag::T_Var => {
                let var = &*node.cast::<pg_sys::Var>();
                var.varlevelsup == uses.depth
                    && var.varno as usize == uses.number
                    && var.varattno <= 0
            }
            _ => expression_tree_walker(node, uses_more, context),
        }
    }
}
