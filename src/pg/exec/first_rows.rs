//! The part of a plan that changes rows in another place (a WITH query): it runs here before the plan gives its first row, once,
//! and its rows are kept for the plan.

use crate::error::Result;
use crate::pg::catalog::types::tuple_attribute;
use crate::pg::error::trampoline;
use crate::pg::exec::custom_scan::State;
use crate::pg::exec::decode;
use crate::pg::exec::local_rows;
use crate::pg::exec::nesting;
use crate::pg::exec::remote_plan::{self, LocalStatementView, PlanView, RemotePlan};
use crate::pg::exec::result_columns::ResultColumns;
use crate::pg::tree::function_rules::NoRules;
use crate::pg::tree::{QueryTree, deparse, list, subqueries, survey_expression};
use pgrx::pg_sys;
use std::ffi::c_int;
use std::ptr;

/// Plans the part that runs `query`, which is set aside as number `number` of the range table: all of its columns are kept, and
/// `clauses` are tested on them.
///
/// # Safety
/// The rest belongs to the planner's run that is under way.
pub(super) unsafe fn plan(
    number: pg_sys::Index,
    query: QueryTree<'_>,
    targets: *mut pg_sys::List,
    clauses: *mut pg_sys::List,
) -> Result<*mut pg_sys::Plan> {
    // SAFETY: by the caller's promise; palloc0 gives a zeroed node, complete once its tag is set.
    unsafe {
        let mut columns: *mut pg_sys::List = ptr::null_mut();
        let given = list::iter::<pg_sys::TargetEntry>(subqueries::columns(query.as_ptr()));
        for entry in given.filter(|&entry| !(*entry).resjunk) {
            let expression = (*entry).expr.cast::<pg_sys::Node>();
            let (of_type, modifier) =
                (pg_sys::exprType(expression), pg_sys::exprTypmod(expression));
            let collation = pg_sys::exprCollation(expression);
            let resno = list::len(columns) as pg_sys::AttrNumber + 1;
            let var = pg_sys::makeVar(number as c_int, resno, of_type, modifier, collation, 0);
            let column = pg_sys::makeTargetEntry(var.cast(), resno, (*entry).resname, false);
            columns = pg_sys::lappend(columns, column.cast());
        }
        let params = survey_expression::<NoRules>(query.as_ptr().cast()).params;
        let plan = RemotePlan {
            sql: deparse::rewritten_text(query)?,
            offset: None,
            params: params.iter().map(|param| param.id).max().unwrap_or(0),
            writes: true,
            unsettles: false,
            cursor: None,
            namespaces: Vec::new(),
            sources: Vec::new(),
            copy: Vec::new(),
        };
        let scan = pg_sys::palloc0(size_of::<pg_sys::CustomScan>()).cast::<pg_sys::CustomScan>();
        (*scan).scan.plan.type_ = pg_sys::NodeTag::T_CustomScan;
        (*scan).scan.plan.targetlist = targets;
        (*scan).scan.plan.qual = pg_sys::extract_actual_clauses(clauses, false);
        (*scan).flags = pg_sys::CUSTOMPATH_SUPPORT_PROJECTION;
        (*scan).custom_scan_tlist = columns;
        (*scan).methods = remote_plan::part_methods();
        (*scan).custom_private = remote_plan::private_of_part(&plan, ResultColumns::default());
        remote_plan::run_first(scan);
        Ok(scan.cast())
    }
}

/// Whether a part is such a one.
///
/// # Safety
/// `state` is that of a part.
pub(super) unsafe fn is_one(state: *mut State) -> bool {
    // SAFETY: by the caller's promise.
    unsafe { PlanView::new((*state).css.ss.ps.plan.cast()).runs_first() }
}

/// Runs the part's statement.
///
/// # Safety
/// As for [`is_one`]; nothing of the part has run yet. An error of the server's leaves this without an unwinding.
pub(super) unsafe fn run(state: *mut State) {
    // SAFETY: by the caller's promise. The statement is nested in the one that is about to run, which is what tells it that it is
    // not alone in its transaction.
    unsafe {
        let before = pg_sys::MemoryContextSwitchTo((*(*state).css.ss.ps.state).es_query_cxt);
        (*state).kept.begin((*state).css.ss.ss_ScanTupleSlot);
        pg_sys::MemoryContextSwitchTo(before);
        nesting::execute(|| (), || trampoline((), || fill(state)));
        (*state).kept.complete();
        (*state).kept.rewind();
    }
}

unsafe fn fill(state: *mut State) -> Result<()> {
    // SAFETY: by the promise of `run`; a row has the columns of the slot, which the part's statement was made for.
    unsafe {
        let plan = PlanView::new((*state).css.ss.ps.plan.cast());
        let slot = (*state).css.ss.ss_ScanTupleSlot;
        let params = (*(*state).css.ss.ps.state).es_param_list_info;
        let source = LocalStatementView::of_change(plan.sql());
        let wanted = (*slot).tts_tupleDescriptor;
        local_rows::each_tuple(source, params, plan.params(), &mut |row, columns| {
            local_rows::check_types(
                columns,
                (0..(*wanted).natts as usize).map(|i| (*tuple_attribute(wanted, i)).atttypid),
            )?;
            decode::clear(slot);
            pg_sys::heap_deform_tuple(row, columns, (*slot).tts_values, (*slot).tts_isnull);
            pg_sys::ExecStoreVirtualTuple(slot);
            pg_sys::ffi::pg_guard_ffi_boundary(|| (*state).kept.add(slot));
            decode::clear(slot);
            Ok(())
        })
    }
}
