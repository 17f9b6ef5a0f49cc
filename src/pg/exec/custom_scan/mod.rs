//! [`Scan`]: a safe trait for the custom scan that runs a statement on a node, and the callbacks called by PostgreSQL,
//! which are generic over the trait's implementor.
//!
//! The state of a scan is a Rust value; it is dropped when the scan ends or, after an error, with the query's memory
//! context. So dropping it neither communicates with a node nor raises errors.

mod context;

use crate::error::Result;
use crate::pg::error::trampoline;
use crate::pg::exec::cursor::{self, Cursor};
use crate::pg::exec::decode::RowDecoder;
use crate::pg::exec::explain::ExplainOutput;
use crate::pg::exec::kept_rows::KeptRows;
use crate::pg::exec::remote_plan::{self, Methods};
use crate::pg::exec::replan::Replanned;
use crate::pg::session::backend_state;
use pgrx::pg_sys::{self, NodeTag};
use std::ffi::{CStr, c_int, c_void};
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
    /// Opens the cursor on the node whose rows [`Scan::next`] will give.
    fn open_cursor(&mut self, context: &mut ScanContext, cursor: &Cursor) -> Result<()>;
    /// Restarts from the first row at the next call of [`Scan::next`].
    fn rescan(&mut self) -> Result<()>;
    /// Ends the statement on the node.
    fn end(&mut self) -> Result<()>;
    /// Sends what the parts of a plan ask their nodes for, before the plan runs: all of them see the rows as they are now.
    fn begin_parts(parts: &mut [Part<'_, Self>]) -> Result<()>;
    /// Called before the plan is printed by an EXPLAIN that does not run it.
    fn before_explain(&mut self, context: &mut ScanContext) -> Result<()>;
    /// Adds lines to the output of EXPLAIN.
    fn explain(&mut self, context: &mut ScanContext, output: &mut ExplainOutput) -> Result<()>;
}

/// A part of a plan that is about to run.
pub struct Part<'a, S> {
    /// The executor around it.
    pub context: ScanContext,
    /// Its scan.
    pub scan: &'a mut S,
}

/// Parts of the executor that a scan may use.
pub struct ScanContext {
    pub(super) node: *mut pg_sys::CustomScanState,
}

/// How rows are passed unchanged to the client.
pub struct ClientRows<'a> {
    /// Sends the row description to the client; to be called once, before the first row.
    pub begin: &'a dyn Fn(),
    /// Format codes requested by the client, one per column.
    pub formats: Vec<i16>,
    /// Columns that are anonymous records in binary format, which contain the OIDs of their columns' types.
    pub records: Vec<usize>,
    /// Takes the body of the DataRow message of each row.
    pub send: &'a dyn Fn(&[u8]) -> Result<()>,
}

/// The scan state known to PostgreSQL, which begins with its own struct.
#[repr(C)]
pub(super) struct State {
    pub(super) css: pg_sys::CustomScanState,
    /// The [`Scan`], of the type with which [`install`] was called.
    pub(super) scan: *mut c_void,
    decoder: *mut RowDecoder,
    /// All null unless the statement was replanned.
    replanned: Replanned,
    /// Number of rows requested in the current call of the executor; 0 means all.
    limit: u64,
    /// The rows are not used.
    rows_unwanted: bool,
    /// All null where rows are not kept.
    pub(super) kept: KeptRows,
    callback: pg_sys::MemoryContextCallback,
}

static EXEC: OnceLock<Methods<pg_sys::CustomExecMethods>> = OnceLock::new();

/// Registers the scan; called once, when the library is loaded.
pub(in crate::pg) fn install<S: Scan>() {
    EXEC.get_or_init(|| methods::<S>(c"Helios", exec::<S>, rescan::<S>));
    remote_plan::register(create::<S>);
}

type Exec =
    unsafe extern "C-unwind" fn(*mut pg_sys::CustomScanState) -> *mut pg_sys::TupleTableSlot;
type Rescan = unsafe extern "C-unwind" fn(*mut pg_sys::CustomScanState);

/// The callbacks of a scan.
pub(super) fn methods<S: Scan>(
    name: &'static CStr,
    exec: Exec,
    rescan: Rescan,
) -> Methods<pg_sys::CustomExecMethods> {
    Methods(pg_sys::CustomExecMethods {
        CustomName: name.as_ptr(),
        BeginCustomScan: Some(begin),
        ExecCustomScan: Some(exec),
        EndCustomScan: Some(end::<S>),
        ReScanCustomScan: Some(rescan),
        MarkPosCustomScan: None,
        RestrPosCustomScan: None,
        EstimateDSMCustomScan: None,
        InitializeDSMCustomScan: None,
        ReInitializeDSMCustomScan: None,
        InitializeWorkerCustomScan: None,
        ShutdownCustomScan: None,
        ExplainCustomScan: Some(explain::<S>),
    })
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

/// The scan at the top of `planstate`, if it is one of Helios.
///
/// # Safety
/// `planstate` is null or a valid plan state.
pub(super) unsafe fn scan_of<S: Scan>(planstate: *mut pg_sys::PlanState) -> Option<*const S> {
    // SAFETY: by the caller's promise.
    unsafe { state_of(planstate).map(|(state, _)| (*state).scan.cast_const().cast()) }
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

/// Opens the cursor of an execution that has just started, if it is one of a scan of Helios.
///
/// # Safety
/// `desc` is valid, and its plan is readied.
pub(in crate::pg) unsafe fn open_cursor<S: Scan>(desc: *mut pg_sys::QueryDesc) -> Result<()> {
    // SAFETY: by the caller's promise.
    unsafe {
        let Some((state, true)) = state_of((*desc).planstate) else { return Ok(()) };
        let mut context = ScanContext { node: state.cast() };
        match cursor::opened_by(desc, &context.plan()) {
            Some(cursor) => (*(*state).scan.cast::<S>()).open_cursor(&mut context, &cursor),
            None => Ok(()),
        }
    }
}

/// Lets the scan in `planstate`, if there is one, prepare what EXPLAIN will print.
///
/// # Safety
/// `planstate` is null or a valid plan state.
pub(in crate::pg) unsafe fn before_explain<S: Scan>(
    planstate: *mut pg_sys::PlanState,
) -> Result<()> {
    // SAFETY: by the caller's promise.
    unsafe {
        match state_of(planstate) {
            Some((state, _)) => {
                let mut context = ScanContext { node: state.cast() };
                (*(*state).scan.cast::<S>()).before_explain(&mut context)
            }
            None => Ok(()),
        }
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

unsafe extern "C-unwind" fn create<S: Scan>(_plan: *mut pg_sys::CustomScan) -> *mut pg_sys::Node {
    // SAFETY: called by ExecInitCustomScan; see `new_state`.
    unsafe { trampoline(ptr::null_mut(), || Ok(new_state::<S>(exec_methods()))) }
}

/// The state of a scan that has these callbacks.
pub(super) fn new_state<S: Scan>(methods: *const pg_sys::CustomExecMethods) -> *mut pg_sys::Node {
    // SAFETY: a zeroed State with its tag and methods is a valid CustomScanState; the callback is part of it, in the
    // query's memory context, whose reset runs it exactly once.
    unsafe {
        let state = pg_sys::palloc0(size_of::<State>()).cast::<State>();
        (*state).css.ss.ps.type_ = NodeTag::T_CustomScanState;
        (*state).css.methods = methods;
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

/// Empties the scan's slot.
///
/// # Safety
/// `node` is one of ours.
pub(super) unsafe fn empty(node: *mut pg_sys::CustomScanState) {
    // SAFETY: only plain frames lie above.
    unsafe { trampoline((), || Ok(ScanContext { node }.clear()).map(|_| ())) }
}

/// Gives the next row, as the scan's slot.
pub(super) unsafe extern "C-unwind" fn exec<S: Scan>(
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

/// Begins again with a new request.
pub(super) unsafe extern "C-unwind" fn rescan<S: Scan>(node: *mut pg_sys::CustomScanState) {
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
            (*state).kept.end();
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
