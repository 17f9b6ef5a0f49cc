//! [`Scan`]: a safe trait for the custom scan that runs a statement on a node, and the callbacks called by PostgreSQL,
//! which are generic over the trait's implementor.
//!
//! The state of a scan is a Rust value; it is dropped when the scan ends or, after an error, with the query's memory
//! context. So dropping it neither communicates with a node nor raises errors.

use crate::error::Result;
use crate::pg::error::trampoline;
use crate::pg::exec::decode::{self, RowDecoder};
use crate::pg::exec::explain::ExplainOutput;
use crate::pg::exec::params::Params;
use crate::pg::exec::remote_plan::{self, Methods, PlanView};
use crate::pg::exec::replan::Replanned;
use crate::pg::session::backend_state;
use pgrx::pg_sys::{self, NodeTag};
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

/// Outcome of running a statement at the place for which it was planned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempt<T> {
    /// It ran, or could run, there.
    Done(T),
    /// Its schema has been moved, and nothing has been done yet: it must be replanned.
    Replan,
}

/// Result of requesting a row from a scan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// A row, which is stored in the context's slot.
    Row,
    /// No more rows.
    End,
}

/// State of a custom scan being executed.
pub trait Scan: Sized {
    /// A scan that has not started.
    fn new() -> Self;
    /// Stores the next row in the context's slot.
    fn next(&mut self, context: &mut ScanContext) -> Result<Attempt<Next>>;
    /// Whether rows were already fetched in the form required by [`Scan::next`].
    fn has_started(&self) -> bool;
    /// Runs to completion and passes the rows directly to the client; returns their number.
    fn run_to_client(&mut self, context: &mut ScanContext, to: &ClientRows)
    -> Result<Attempt<u64>>;
    /// Restarts from the first row at the next call of [`Scan::next`].
    fn rescan(&mut self) -> Result<()>;
    /// Ends the statement on the node.
    fn end(&mut self) -> Result<()>;
    /// Adds lines to the output of EXPLAIN.
    fn explain(&mut self, context: &mut ScanContext, output: &mut ExplainOutput) -> Result<()>;
}

/// Parts of the executor that a scan may use.
pub struct ScanContext {
    node: *mut pg_sys::CustomScanState,
}

/// How rows are passed unchanged to the client.
pub struct ClientRows<'a> {
    /// Sends the row description to the client; to be called once, before the first row.
    pub begin: &'a dyn Fn(),
    /// Format codes requested by the client, one per column.
    pub formats: Vec<i16>,
    /// Columns that are anonymous records in binary format, which contain the OIDs of their columns' types.
    pub records: Vec<usize>,
}

/// The scan state known to PostgreSQL, which begins with its own struct.
#[repr(C)]
struct State {
    css: pg_sys::CustomScanState,
    /// The [`Scan`], of the type with which [`install`] was called.
    scan: *mut c_void,
    decoder: *mut RowDecoder,
    /// All null unless the statement was replanned.
    replanned: Replanned,
    /// Number of rows requested in the current call of the executor; 0 means all.
    limit: u64,
    /// The rows are not used.
    rows_unwanted: bool,
    callback: pg_sys::MemoryContextCallback,
}

static EXEC: OnceLock<Methods<pg_sys::CustomExecMethods>> = OnceLock::new();

/// Registers the scan; called once, when the library is loaded.
pub(in crate::pg) fn install<S: Scan>() {
    EXEC.get_or_init(|| {
        Methods(pg_sys::CustomExecMethods {
            CustomName: c"Helios".as_ptr(),
            BeginCustomScan: Some(begin),
            ExecCustomScan: Some(exec::<S>),
            EndCustomScan: Some(end::<S>),
            ReScanCustomScan: Some(rescan::<S>),
            MarkPosCustomScan: None,
            RestrPosCustomScan: None,
            EstimateDSMCustomScan: None,
            InitializeDSMCustomScan: None,
            ReInitializeDSMCustomScan: None,
            InitializeWorkerCustomScan: None,
            ShutdownCustomScan: None,
            ExplainCustomScan: Some(explain::<S>),
        })
    });
    remote_plan::register(create::<S>);
}

fn exec_methods() -> *const pg_sys::CustomExecMethods {
    EXEC.get().map_or(ptr::null(), |methods| &raw const methods.0)
}

/// The state of Helios' scan in a running plan: at the top, or below the Material node of a scrollable cursor; and
/// whether it is at the top.
///
/// # Safety
/// `planstate` is null or a valid plan state.
unsafe fn state_of(planstate: *mut pg_sys::PlanState) -> Option<(*mut State, bool)> {
    // SAFETY: by the caller's promise; a CustomScanState with our methods was made by `create`.
    unsafe {
        if planstate.is_null() {
            return None;
        }
        match (*planstate).type_ {
            NodeTag::T_CustomScanState => {
                let css = planstate.cast::<pg_sys::CustomScanState>();
                ptr::eq((*css).methods, exec_methods()).then_some((css.cast(), true))
            }
            NodeTag::T_MaterialState => state_of((*planstate).lefttree).map(|(s, _)| (s, false)),
            _ => None,
        }
    }
}

/// Informs the scan in `planstate`, if there is one, how many rows the executor requests, and whether they are used.
///
/// # Safety
/// `planstate` is null or a valid plan state.
pub(in crate::pg) unsafe fn set_demand(
    planstate: *mut pg_sys::PlanState,
    limit: u64,
    rows_unwanted: bool,
) {
    // SAFETY: by the caller's promise.
    unsafe {
        if let Some((state, top)) = state_of(planstate) {
            (*state).rows_unwanted = rows_unwanted;
            (*state).limit = if top { limit } else { limit.max(1) };
        }
    }
}

/// Makes the scan at the top of `planstate` send its rows directly to the client; without such a scan the executor
/// proceeds as for a replanned statement.
///
/// # Safety
/// `planstate` is null or a valid plan state.
pub(in crate::pg) unsafe fn run_to_client<S: Scan>(
    planstate: *mut pg_sys::PlanState,
    client: &ClientRows<'_>,
) -> Result<Attempt<u64>> {
    // SAFETY: by the caller's promise.
    unsafe {
        let Some((state, true)) = state_of(planstate) else { return Ok(Attempt::Replan) };
        let mut context = ScanContext { node: state.cast() };
        (*(*state).scan.cast::<S>()).run_to_client(&mut context, client)
    }
}

/// Whether the top of `planstate` is a scan of Helios that has not started.
///
/// # Safety
/// `planstate` is null or a valid plan state.
pub(in crate::pg) unsafe fn is_fresh<S: Scan>(planstate: *mut pg_sys::PlanState) -> bool {
    // SAFETY: by the caller's promise.
    unsafe {
        state_of(planstate)
            .is_some_and(|(state, top)| top && !(*(*state).scan.cast::<S>()).has_started())
    }
}

impl ScanContext {
    fn state(&mut self) -> &mut State {
        // SAFETY: every node with our methods was made by `create`, and PostgreSQL calls one callback at a time.
        unsafe { &mut *self.node.cast::<State>() }
    }

    fn estate(&self) -> *mut pg_sys::EState {
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

    /// Whether the rows are not used, so that only the statement's side effects matter.
    pub fn rows_unwanted(&mut self) -> bool {
        self.state().rows_unwanted
    }

    /// The parameters, serialized for a node.
    pub fn params(&self, count: i32) -> Params {
        // SAFETY: the executor's parameter list is valid (or null) during execution.
        unsafe { Params::collect((*self.estate()).es_param_list_info, count) }
    }

    /// Whether the result has columns.
    pub fn has_columns(&self) -> bool {
        // SAFETY: the slot has its descriptor from ExecInitCustomScan.
        unsafe { (*(*self.slot()).tts_tupleDescriptor).natts > 0 }
    }

    /// Stores a row (the body of a DataRow message, text format) in the scan's slot.
    pub fn store(&mut self, row: &[u8]) -> Result<()> {
        let slot = self.slot();
        // SAFETY: the decoder was made for this slot; the expression context belongs to this node.
        unsafe {
            let memory = (*(*self.node).ss.ps.ps_ExprContext).ecxt_per_tuple_memory;
            self.decoder()?.decode(row, slot, memory)
        }
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
                let decoder = RowDecoder::new((*slot).tts_tupleDescriptor);
                pg_sys::MemoryContextSwitchTo(before);
                state.decoder = Box::into_raw(Box::new(decoder?));
            }
            Ok(&mut *state.decoder)
        }
    }

    fn slot(&self) -> *mut pg_sys::TupleTableSlot {
        // SAFETY: set by ExecInitCustomScan.
        unsafe { (*self.node).ss.ss_ScanTupleSlot }
    }

    /// Clears the slot and frees memory of the previous row.
    fn clear(&mut self) -> *mut pg_sys::TupleTableSlot {
        let slot = self.slot();
        // SAFETY: the slot is valid; the memory holds nothing but the values of the slot just emptied.
        unsafe {
            decode::clear(slot);
            let context = (*self.node).ss.ps.ps_ExprContext;
            pg_sys::MemoryContextReset((*context).ecxt_per_tuple_memory);
        }
        slot
    }

    /// Adds to the number of rows changed by a data-modifying statement, for its command tag.
    pub fn add_processed(&mut self, rows: u64) {
        // SAFETY: the executor state is valid during execution.
        unsafe {
            let estate = self.estate();
            if (*(*estate).es_plannedstmt).commandType != pg_sys::CmdType::CMD_SELECT {
                (*estate).es_processed += rows;
            }
        }
    }
}

unsafe extern "C-unwind" fn create<S: Scan>(_plan: *mut pg_sys::CustomScan) -> *mut pg_sys::Node {
    // SAFETY: called by ExecInitCustomScan; see `new_state`.
    unsafe { trampoline(ptr::null_mut(), || Ok(new_state::<S>())) }
}

fn new_state<S: Scan>() -> *mut pg_sys::Node {
    // SAFETY: a zeroed State with its tag and methods is a valid CustomScanState; the callback is part of it, in the
    // query's memory context, whose reset runs it exactly once.
    unsafe {
        let state = pg_sys::palloc0(size_of::<State>()).cast::<State>();
        (*state).css.ss.ps.type_ = NodeTag::T_CustomScanState;
        (*state).css.methods = exec_methods();
        (*state).scan = Box::into_raw(Box::new(S::new())).cast();
        (*state).callback.func = Some(drop_state::<S>);
        (*state).callback.arg = state.cast();
        backend_state::MemoryContextRegisterResetCallback(
            pg_sys::CurrentMemoryContext,
            &raw mut (*state).callback,
        );
        state.cast()
    }
}

unsafe extern "C-unwind" fn drop_state<S: Scan>(state: *mut c_void) {
    let state = state.cast::<State>();
    // SAFETY: runs once, when the State's memory is freed; the scan was created by `new_state` for this type; the decoder
    // was created by `decoder`, or is null.
    unsafe {
        drop(Box::from_raw((*state).scan.cast::<S>()));
        if !(*state).decoder.is_null() {
            drop(Box::from_raw((*state).decoder));
        }
    }
}

/// The executor has readied the scan's slot; nothing is done before the first row is wanted.
unsafe extern "C-unwind" fn begin(
    _node: *mut pg_sys::CustomScanState,
    _estate: *mut pg_sys::EState,
    _flags: c_int,
) {
}

unsafe extern "C-unwind" fn exec<S: Scan>(
    node: *mut pg_sys::CustomScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: called by the executor with a State of ours. What is replanned runs outside of `trampoline`, as
    // [`Replanned`] wants it.
    unsafe {
        let state = node.cast::<State>();
        let mut context = ScanContext { node };
        let slot = trampoline(ptr::null_mut(), || Ok(context.clear()));
        if (*state).replanned.next(node) {
            return slot;
        }
        if trampoline(Attempt::Done(Next::End), || (*(*state).scan.cast::<S>()).next(&mut context))
            == Attempt::Replan
        {
            (*state).replanned = Replanned::run(node);
            (*state).replanned.next(node);
        }
        slot
    }
}

unsafe extern "C-unwind" fn rescan<S: Scan>(node: *mut pg_sys::CustomScanState) {
    // SAFETY: called by the executor with a State of ours.
    unsafe {
        let state = node.cast::<State>();
        trampoline((), || {
            (*state).replanned.end();
            (*(*state).scan.cast::<S>()).rescan()
        })
    }
}

unsafe extern "C-unwind" fn end<S: Scan>(node: *mut pg_sys::CustomScanState) {
    // SAFETY: called by the executor with a State of ours.
    unsafe {
        let state = node.cast::<State>();
        trampoline((), || {
            (*state).replanned.end();
            (*(*state).scan.cast::<S>()).end()
        })
    }
}

unsafe extern "C-unwind" fn explain<S: Scan>(
    node: *mut pg_sys::CustomScanState,
    _ancestors: *mut pg_sys::List,
    es: *mut pg_sys::ExplainState,
) {
    // SAFETY: called by EXPLAIN with a State of ours and its own state.
    unsafe {
        trampoline((), || {
            let mut context = ScanContext { node };
            let mut output = ExplainOutput::new(es);
            if (*node.cast::<State>()).replanned.is_some() {
                output.property("Node", "replanned for this server");
                return Ok(());
            }
            (*(*node.cast::<State>()).scan.cast::<S>()).explain(&mut context, &mut output)
        })
    }
}
