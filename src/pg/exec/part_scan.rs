//! The scan of a part: it gives the rows of one relation to a plan that PostgreSQL made, which tests and projects them as
//! those of any scan. Rows that may be needed again are kept, so that the node is asked once.

use crate::error::Result;
use crate::pg::error::trampoline;
use crate::pg::exec::custom_scan::{self, Part, Scan, ScanContext, State};
use crate::pg::exec::first_rows;
use crate::pg::exec::remote_plan::{self, Methods, PlanView};
use crate::pg::session::backend_state;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::ffi::c_void;
use std::ptr;
use std::sync::OnceLock;

unsafe extern "C-unwind" {
    // Called for every row: no guard of pgrx's, and nothing in between that would have to be dropped.
    fn ExecScan(
        node: *mut pg_sys::ScanState,
        access: unsafe extern "C-unwind" fn(*mut pg_sys::ScanState) -> *mut pg_sys::TupleTableSlot,
        recheck: unsafe extern "C-unwind" fn(
            *mut pg_sys::ScanState,
            *mut pg_sys::TupleTableSlot,
        ) -> bool,
    ) -> *mut pg_sys::TupleTableSlot;
}

thread_local! {
    /// Parts that are alive in this backend, in the order in which they were made.
    static ALIVE: RefCell<Vec<*mut State>> = const { RefCell::new(Vec::new()) };
}

static EXEC: OnceLock<Methods<pg_sys::CustomExecMethods>> = OnceLock::new();

/// Registers the scan; once, when the library is loaded.
pub(in crate::pg) fn install<S: Scan>() {
    EXEC.get_or_init(|| custom_scan::methods::<S>(c"Helios Part", exec::<S>, rescan::<S>));
    remote_plan::register_part(create::<S>);
}

unsafe extern "C-unwind" fn create<S: Scan>(_plan: *mut pg_sys::CustomScan) -> *mut pg_sys::Node {
    let methods = EXEC.get().map_or(ptr::null(), |methods| &raw const methods.0);
    // SAFETY: called by ExecInitCustomScan, in the memory of the execution; the callback lies there too.
    unsafe {
        trampoline(ptr::null_mut(), || {
            let state = custom_scan::new_state::<S>(methods);
            let callback = pg_sys::palloc0(size_of::<pg_sys::MemoryContextCallback>())
                .cast::<pg_sys::MemoryContextCallback>();
            (*callback).func = Some(forget);
            (*callback).arg = state.cast();
            backend_state::MemoryContextRegisterResetCallback(
                pg_sys::CurrentMemoryContext,
                callback,
            );
            ALIVE.with_borrow_mut(|alive| alive.push(state.cast()));
            Ok(state)
        })
    }
}

unsafe extern "C-unwind" fn forget(state: *mut c_void) {
    ALIVE.with_borrow_mut(|alive| alive.retain(|&part| !ptr::eq(part, state.cast())));
}

/// Runs the statements of a plan's parts that run first.
///
/// # Safety
/// As for [`begin_all`]. An error of the server's leaves this without an unwinding.
pub(in crate::pg) unsafe fn run_first(estate: *mut pg_sys::EState) {
    loop {
        // SAFETY: what is alive has not been freed. A statement that runs may add to the list.
        unsafe {
            let of_plan = |&state: &*mut State| {
                ptr::eq((*state).css.ss.ps.state, estate)
                    && first_rows::is_one(state)
                    && !(*state).kept.is_some()
            };
            let next = ALIVE.with_borrow(|alive| alive.iter().copied().find(of_plan));
            match next {
                Some(state) => first_rows::run(state),
                None => return,
            }
        }
    }
}

/// Lets the parts of a plan begin that the executor has readied.
///
/// # Safety
/// `estate` is valid; nobody else uses the scans of its parts.
pub(in crate::pg) unsafe fn begin_all<S: Scan>(estate: *mut pg_sys::EState) -> Result<()> {
    // SAFETY: what is alive has not been freed; the scans are of the type that `install` was called with.
    let mut parts: Vec<Part<'_, S>> = unsafe {
        let of_plan = |&&state: &&*mut State| {
            ptr::eq((*state).css.ss.ps.state, estate) && !first_rows::is_one(state)
        };
        let part = |&state: &*mut State| Part {
            context: ScanContext { node: state.cast() },
            scan: &mut *(*state).scan.cast::<S>(),
        };
        ALIVE.with_borrow(|alive| alive.iter().filter(of_plan).map(part).collect())
    };
    if parts.is_empty() { Ok(()) } else { S::begin_parts(&mut parts) }
}

unsafe extern "C-unwind" fn exec<S: Scan>(
    node: *mut pg_sys::CustomScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: called by the executor with a state of ours, which begins with a ScanState.
    unsafe { ExecScan(node.cast(), next::<S>, recheck) }
}

/// The next row of the node's, or of those that were kept.
unsafe extern "C-unwind" fn next<S: Scan>(
    node: *mut pg_sys::ScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: called by ExecScan with a state of ours. Nothing here has to be dropped.
    unsafe {
        let css = node.cast::<pg_sys::CustomScanState>();
        let state = css.cast::<State>();
        if !PlanView::new((*css).ss.ps.plan.cast()).keeps_rows() {
            return custom_scan::exec::<S>(css);
        }
        let slot = (*css).ss.ss_ScanTupleSlot;
        let kept = &raw mut (*state).kept;
        if !(*kept).is_some() {
            let before = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = (*(*css).ss.ps.state).es_query_cxt;
            (*kept).begin(slot);
            pg_sys::CurrentMemoryContext = before;
        }
        custom_scan::empty(css);
        if (*kept).next(slot) || (*kept).is_complete() {
            return slot;
        }
        let row = custom_scan::exec::<S>(css);
        if (*row).tts_flags & pg_sys::TTS_FLAG_EMPTY as u16 == 0 {
            (*kept).add(row);
        } else {
            (*kept).complete();
        }
        row
    }
}

/// A row that was seen before is one of the relation's: its node has tested it.
unsafe extern "C-unwind" fn recheck(
    _node: *mut pg_sys::ScanState,
    _slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    true
}

unsafe extern "C-unwind" fn rescan<S: Scan>(node: *mut pg_sys::CustomScanState) {
    // SAFETY: called by the executor with a state of ours.
    unsafe {
        let kept = &raw mut (*node.cast::<State>()).kept;
        if (*kept).is_some() {
            (*kept).rewind();
        } else {
            custom_scan::rescan::<S>(node);
        }
        pg_sys::ExecScanReScan(node.cast());
    }
}
