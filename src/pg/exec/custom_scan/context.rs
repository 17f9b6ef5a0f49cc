//! What a scan knows of its plan, its parameters and its slot.

use super::{ScanContext, State, exec_methods};
use crate::error::Result;
use crate::pg::exec::decode::{self, RowDecoder, RowFormat};
use crate::pg::exec::params::{self, Params};
use crate::pg::exec::remote_plan::PlanView;
use crate::pg::tree::cursor_name::CursorName;
use helios_core::explained::Figures;
use pgrx::pg_sys;
use std::ptr;

unsafe extern "C-unwind" {
    // Called for every row, and raises no errors: no guard of pgrx's.
    fn MemoryContextReset(context: pg_sys::MemoryContext);
}

impl ScanContext {
    pub(super) fn state(&mut self) -> &mut State {
        // SAFETY: every node with our methods was made by `create`, and PostgreSQL calls one callback at a time.
        unsafe { &mut *self.node.cast::<State>() }
    }

    pub(in crate::pg::exec) fn estate(&self) -> *mut pg_sys::EState {
        // SAFETY: set by ExecInitCustomScan before any callback runs.
        unsafe { (*self.node).ss.ps.state }
    }

    /// The plan being executed.
    pub fn plan(&self) -> PlanView<'_> {
        // SAFETY: the state's plan is our custom scan, in memory that outlives the execution.
        unsafe { PlanView::new((*self.node).ss.ps.plan.cast()) }
    }

    /// Number of rows requested in the current call; 0 means all.
    pub fn limit(&mut self) -> u64 {
        self.state().limit
    }

    /// Whether rows are requested from the end to the beginning.
    pub fn is_backward(&self) -> bool {
        // SAFETY: the executor state is valid during execution.
        unsafe { (*self.estate()).es_direction == pg_sys::ScanDirection::BackwardScanDirection }
    }

    /// Whether the rows are not used, so that only the statement's side effects matter.
    pub fn rows_unwanted(&mut self) -> bool {
        self.state().rows_unwanted
    }

    /// The parameters, serialized for a node.
    pub fn params(&self, count: i32) -> Params {
        // SAFETY: the executor's parameter list is valid (or null) during execution.
        unsafe { Params::collect((*self.estate()).es_param_list_info, count) }
    }

    /// The name of the cursor of WHERE CURRENT OF.
    ///
    /// Errors: 42704, 42804 as PostgreSQL's if it is a parameter that has none.
    pub fn cursor_name(&self) -> Result<Option<String>> {
        match self.plan().cursor() {
            None => Ok(None),
            Some(CursorName::Name(name)) => Ok(Some(name)),
            Some(CursorName::Param(number)) => {
                // SAFETY: the executor's parameter list is valid (or null) during execution.
                let list = unsafe { (*self.estate()).es_param_list_info };
                // SAFETY: as above.
                unsafe { params::cursor_name(list, number) }.map(Some)
            }
        }
    }

    /// Whether the result has columns.
    pub fn has_columns(&self) -> bool {
        // SAFETY: the slot has its descriptor from ExecInitCustomScan.
        unsafe { (*(*self.slot()).tts_tupleDescriptor).natts > 0 }
    }

    /// Stores a row (the body of a DataRow message, in [`Self::formats`]) in the scan's slot.
    pub fn store(&mut self, row: &[u8]) -> Result<()> {
        let slot = self.slot();
        // SAFETY: the decoder was made for this slot; the expression context belongs to this node.
        unsafe {
            let memory = (*(*self.node).ss.ps.ps_ExprContext).ecxt_per_tuple_memory;
            self.decoder()?.decode(row, slot, memory)
        }
    }

    /// The format codes of the rows that [`Self::store`] takes, one for each column; none if all are text.
    pub fn formats(&mut self) -> Result<Vec<i16>> {
        Ok(self.decoder()?.formats())
    }

    /// Rows that go to the client as they are need none, so it is made when it is wanted.
    fn decoder(&mut self) -> Result<&mut RowDecoder> {
        let slot = self.slot();
        let estate = self.estate();
        let state = self.state();
        // SAFETY: the slot has its descriptor from ExecInitCustomScan; the decoder is dropped with the State.
        unsafe {
            if state.decoder.is_null() {
                let before = pg_sys::MemoryContextSwitchTo((*estate).es_query_cxt);
                let decoder = RowDecoder::new((*slot).tts_tupleDescriptor, RowFormat::Exact);
                pg_sys::MemoryContextSwitchTo(before);
                state.decoder = Box::into_raw(Box::new(decoder?));
            }
            Ok(&mut *state.decoder)
        }
    }

    pub(super) fn slot(&self) -> *mut pg_sys::TupleTableSlot {
        // SAFETY: set by ExecInitCustomScan.
        unsafe { (*self.node).ss.ss_ScanTupleSlot }
    }

    /// Clears the slot and frees memory of the previous row.
    pub(super) fn clear(&mut self) -> *mut pg_sys::TupleTableSlot {
        let slot = self.slot();
        // SAFETY: the slot is valid; the memory holds nothing but the values of the slot just emptied.
        unsafe {
            decode::clear(slot);
            let context = (*self.node).ss.ps.ps_ExprContext;
            MemoryContextReset((*context).ecxt_per_tuple_memory);
        }
        slot
    }

    /// Shows other figures in EXPLAIN than the plan was made with.
    pub fn show_figures(&mut self, figures: &Figures) {
        // SAFETY: the plan is that of this execution, and nobody looks at its costs anymore but EXPLAIN; its figures of the
        // execution, if there are some, are this node's.
        unsafe {
            let plan = (*self.node).ss.ps.plan;
            if let Some(estimate) = &figures.estimate {
                (*plan).startup_cost = estimate.startup_cost;
                (*plan).total_cost = estimate.total_cost;
                (*plan).plan_rows = estimate.rows;
                (*plan).plan_width = estimate.width;
            }
            let measured = (*self.node).ss.ps.instrument;
            if let (Some(rows), false) = (figures.actual_rows, measured.is_null()) {
                (*measured).tuplecount += rows;
            }
        }
    }

    /// Whether the scan is a part of a plan that PostgreSQL made.
    pub fn is_part(&self) -> bool {
        // SAFETY: the node is one of ours.
        unsafe { !ptr::eq((*self.node).methods, exec_methods()) }
    }

    /// Whether it is one whose statement runs here, before the plan gives its first row.
    pub fn runs_first(&self) -> bool {
        // SAFETY: the plan of a part of ours.
        self.is_part() && unsafe { self.plan().runs_first() }
    }

    /// Adds to the number of rows changed by a data-modifying statement, for its command tag. The rows of a part are
    /// counted by the node of the plan that takes them.
    pub fn add_processed(&mut self, rows: u64) {
        if self.is_part() {
            return;
        }
        // SAFETY: the executor state is valid during execution.
        unsafe {
            let estate = self.estate();
            if (*(*estate).es_plannedstmt).commandType != pg_sys::CmdType::CMD_SELECT {
                (*estate).es_processed += rows;
            }
        }
    }
}
