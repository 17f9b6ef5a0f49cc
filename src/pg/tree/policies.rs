//! Conditions of row security on tables that are elsewhere: their nodes apply them, as to any statement of the current user.
//!
//! Testing them here as well would take columns that the user need not be allowed to read.

use crate::error::Result;
use crate::pg::tree::survey::{expression_tree_walker, query_tree_walker};
use crate::pg::tree::{QueryTree, list};
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::ffi::c_void;
use std::ptr;

unsafe extern "C-unwind" {
    // Missing in pgrx's bindings.
    pub(super) fn has_subclass(relation: Oid) -> bool;
}

/// Takes the conditions of policies from each table in `query`, at any depth, that `is_elsewhere` and that the current user
/// reads; changes the tree. Those of the root of an inheritance tree stay: the nodes do not apply them to its members.
pub fn leave_to_nodes(
    query: QueryTree<'_>,
    is_elsewhere: &mut dyn FnMut(Oid) -> Result<bool>,
) -> Result<()> {
    let mut queries: Vec<*mut pg_sys::Query> = Vec::new();
    // SAFETY: a valid query, which the caller lets us change; the context outlives the walk.
    unsafe {
        collect(query.as_ptr().cast(), (&raw mut queries).cast());
        for query in queries {
            for entry in list::iter::<pg_sys::RangeTblEntry>((*query).rtable) {
                if !(*entry).securityQuals.is_null()
                    && (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION
                    && !((*entry).inh && has_subclass((*entry).relid))
                    && is_read_by_current_user(query, entry)
                    && is_elsewhere((*entry).relid)?
                {
                    (*entry).securityQuals = ptr::null_mut();
                }
            }
        }
    }
    Ok(())
}

/// Collects the queries with tables that have policies.
unsafe extern "C-unwind" fn collect(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: PostgreSQL walks a valid tree; `context` is the vector of `leave_to_nodes`; the cast follows the tag.
    unsafe {
        if (*node).type_ != NodeTag::T_Query {
            return expression_tree_walker(node, collect, context);
        }
        let query = node.cast::<pg_sys::Query>();
        if (*query).hasRowSecurity {
            (*context.cast::<Vec<*mut pg_sys::Query>>()).push(query);
        }
        query_tree_walker(query, collect, context, 0)
    }
}

/// Whether the rows of an entry, a table's, are read with the privileges of whoever runs the statement.
///
/// # Safety
/// `query` is valid, and `entry` one of its range table.
#[cfg_attr(feature = "pg15", allow(unused_variables, reason = "the entry itself has it"))]
pub(super) unsafe fn is_read_by_current_user(
    query: *mut pg_sys::Query,
    entry: *mut pg_sys::RangeTblEntry,
) -> bool {
    // SAFETY: a valid query and an entry of its range table, whose privileges are in the query's list.
    unsafe {
        #[cfg(feature = "pg15")]
        let reader = (*entry).checkAsUser;
        #[cfg(not(feature = "pg15"))]
        let reader = match (*entry).perminfoindex {
            0 => Oid::INVALID,
            index => {
                let infos = (*query).rteperminfos;
                let info = list::nth::<pg_sys::RTEPermissionInfo>(infos, index as usize - 1);
                (*info).checkAsUser
            }
        };
        reader == Oid::INVALID || reader == pg_sys::GetUserId()
    }
}
