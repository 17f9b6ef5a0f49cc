//! Walks a finished plan: PostgreSQL has a walker for the states of running plans, and none for plans.

use crate::pg::tree::list;
use pgrx::pg_sys::{self, NodeTag};

/// Whether a part of a plan may be run through more than once in one execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pg) enum Passes {
    /// From the first row to the last, once.
    One,
    /// Again for rows of another part.
    Many,
}

/// Calls `visit` with every node of the statement's plan and of its subplans.
///
/// # Safety
/// `statement` is a valid planned statement.
pub(in crate::pg) unsafe fn walk_statement(
    statement: *mut pg_sys::PlannedStmt,
    visit: &mut dyn FnMut(*mut pg_sys::Plan, Passes),
) {
    // SAFETY: by the caller's promise; a subplan that is not used is null.
    unsafe {
        walk((*statement).planTree, Passes::One, visit);
        for subplan in list::iter::<pg_sys::Plan>((*statement).subplans) {
            walk(subplan, Passes::Many, visit);
        }
    }
}

/// # Safety
/// `plan` is null or valid.
unsafe fn walk(
    plan: *mut pg_sys::Plan,
    passes: Passes,
    visit: &mut dyn FnMut(*mut pg_sys::Plan, Passes),
) {
    if plan.is_null() {
        return;
    }
    // SAFETY: by the caller's promise; the casts follow the tags.
    unsafe {
        pg_sys::check_stack_depth();
        visit(plan, passes);
        let right = match (*plan).type_ {
            NodeTag::T_NestLoop | NodeTag::T_RecursiveUnion => Passes::Many,
            _ => passes,
        };
        walk((*plan).lefttree, passes, visit);
        walk((*plan).righttree, right, visit);
        let members = match (*plan).type_ {
            NodeTag::T_Append => (*plan.cast::<pg_sys::Append>()).appendplans,
            NodeTag::T_MergeAppend => (*plan.cast::<pg_sys::MergeAppend>()).mergeplans,
            NodeTag::T_BitmapAnd => (*plan.cast::<pg_sys::BitmapAnd>()).bitmapplans,
            NodeTag::T_BitmapOr => (*plan.cast::<pg_sys::BitmapOr>()).bitmapplans,
            NodeTag::T_CustomScan => (*plan.cast::<pg_sys::CustomScan>()).custom_plans,
            NodeTag::T_SubqueryScan => {
                return walk((*plan.cast::<pg_sys::SubqueryScan>()).subplan, passes, visit);
            }
            _ => return,
        };
        for member in list::iter::<pg_sys::Plan>(members) {
            walk(member, passes, visit);
        }
    }
}

/// Number of the range table entry that a node of a plan scans; None for what scans no entry.
///
/// # Safety
/// `plan` is valid.
pub(in crate::pg) unsafe fn scanned(plan: *mut pg_sys::Plan) -> Option<usize> {
    // SAFETY: by the caller's promise; all nodes of these tags begin with a Scan.
    unsafe {
        match (*plan).type_ {
            NodeTag::T_SeqScan
            | NodeTag::T_SampleScan
            | NodeTag::T_IndexScan
            | NodeTag::T_IndexOnlyScan
            | NodeTag::T_BitmapIndexScan
            | NodeTag::T_BitmapHeapScan
            | NodeTag::T_TidScan
            | NodeTag::T_TidRangeScan
            | NodeTag::T_ForeignScan
            | NodeTag::T_CustomScan => {
                Some((*plan.cast::<pg_sys::Scan>()).scanrelid as usize).filter(|&entry| entry > 0)
            }
            _ => None,
        }
    }
}
