//! How many rows queries and plans give, as PostgreSQL's planner estimates it.

use crate::pg::exec::{plan_walk, remote_plan};
use crate::pg::tree::QueryTree;
use pgrx::pg_sys;
use std::ptr;

/// The rows that a query would give; None for one that a node runs, whose rows nobody here knows. Raises PostgreSQL's errors.
pub fn rows(query: QueryTree<'_>) -> Option<f64> {
    // SAFETY: a valid query; the planner changes a copy of it.
    unsafe {
        let copy = pg_sys::copyObjectImpl(query.as_ptr().cast()).cast::<pg_sys::Query>();
        let plan = pg_sys::planner(copy, ptr::null(), 0, ptr::null_mut());
        if remote_plan::scan_of_plan((*plan).planTree) {
            return None;
        }
        Some((*(*plan).planTree).plan_rows)
    }
}

/// The rows that nodes send to a plan.
///
/// # Safety
/// `statement` is a valid planned statement.
pub(in crate::pg) unsafe fn fetched_rows(statement: *mut pg_sys::PlannedStmt) -> f64 {
    let mut rows = 0.0;
    // SAFETY: by the caller's promise.
    unsafe {
        plan_walk::walk_statement(statement, &mut |plan, _| {
            if remote_plan::is_part(plan) {
                rows += (*plan).plan_rows;
            }
        });
    }
    rows
}
