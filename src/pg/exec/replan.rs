//! Replans a statement during its execution because its schema was moved after it was planned.
//!
//! It runs through SPI with a new snapshot. Its rows are kept in memory and then on disk until the executor requests
//! them. PostgreSQL is called without a guard, so that errors keep all their fields: no frame here has destructors.

use crate::error::Error;
use crate::pg::catalog::types::tuple_attribute;
use crate::pg::error::trampoline;
use crate::pg::exec::kept_rows::show;
use crate::pg::exec::plan_fields::is_of_cursor;
use crate::pg::exec::remote_plan::PlanView;
use pgrx::pg_sys::{self, Oid, errcodes::PgSqlErrorCode as Code};
use std::ffi::{c_char, c_int, c_void};
use std::ptr;

unsafe extern "C-unwind" {
    // Not pgrx's bindings, whose guards would strip errors of their fields.
    fn palloc0(size: usize) -> *mut c_void;
    fn makeParamList(count: c_int) -> pg_sys::ParamListInfo;
    fn CreateDestReceiver(kind: pg_sys::CommandDest::Type) -> *mut pg_sys::DestReceiver;
    fn tuplestore_begin_heap(
        random: bool,
        beyond_transaction: bool,
        memory: c_int,
    ) -> *mut pg_sys::Tuplestorestate;
    fn tuplestore_gettupleslot(
        rows: *mut pg_sys::Tuplestorestate,
        forward: bool,
        copy: bool,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> bool;
    fn MakeSingleTupleTableSlot(
        columns: pg_sys::TupleDesc,
        kind: *const pg_sys::TupleTableSlotOps,
    ) -> *mut pg_sys::TupleTableSlot;
    fn CreateTupleDescCopy(columns: pg_sys::TupleDesc) -> pg_sys::TupleDesc;
    fn SPI_connect() -> c_int;
    fn SPI_finish() -> c_int;
    fn SPI_prepare(sql: *const c_char, count: c_int, types: *mut Oid) -> pg_sys::SPIPlanPtr;
    fn SPI_execute_plan_extended(
        plan: pg_sys::SPIPlanPtr,
        options: *const pg_sys::SPIExecuteOptions,
    ) -> c_int;
    fn SetTuplestoreDestReceiverParams(
        receiver: *mut pg_sys::DestReceiver,
        rows: *mut pg_sys::Tuplestorestate,
        memory: pg_sys::MemoryContext,
        detoast: bool,
        columns: pg_sys::TupleDesc,
        differ: *const c_char,
    );
    fn cstring_to_text(text: *const c_char) -> *mut pg_sys::text;
}

/// The rows of a replanned statement.
#[derive(Clone, Copy)]
pub(in crate::pg) struct Replanned {
    /// Null if no statement was replanned.
    rows: *mut pg_sys::Tuplestorestate,
    /// Slot in which a row is deformed.
    row: *mut pg_sys::TupleTableSlot,
    /// Number of rows that it changed that have not been counted yet.
    changed: u64,
}

impl Replanned {
    /// Runs the statement of a scan.
    ///
    /// # Safety
    /// `node` is Helios' scan being executed, and no frame between here and the executor has destructors.
    pub(in crate::pg) unsafe fn run(node: *mut pg_sys::CustomScanState) -> Self {
        // SAFETY: by the caller's promise; what is allocated lives as long as the execution.
        unsafe {
            let estate = (*node).ss.ps.state;
            let plan = PlanView::new((*node).ss.ps.plan.cast());
            let before = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = (*estate).es_query_cxt;
            let params = copied((*estate).es_param_list_info, plan.params());
            let columns = (*(*node).ss.ss_ScanTupleSlot).tts_tupleDescriptor;
            let row = MakeSingleTupleTableSlot(columns, &raw const pg_sys::TTSOpsMinimalTuple);
            let scrolls = is_of_cursor(plan.cursor_options() as c_int);
            let rows = tuplestore_begin_heap(scrolls, false, pg_sys::work_mem);
            let receiver = CreateDestReceiver(pg_sys::CommandDest::DestTuplestore);
            SetTuplestoreDestReceiverParams(
                receiver,
                rows,
                (*estate).es_query_cxt,
                true, // a cursor may outlive what its values are stored in
                without_modifiers(columns),
                c"result columns of the statement changed after its schema was moved".as_ptr(),
            );
            let processed = execute(plan.sql_pointer(), params, receiver);
            pg_sys::CurrentMemoryContext = before;
            let changes = (*(*estate).es_plannedstmt).commandType != pg_sys::CmdType::CMD_SELECT;
            Self { rows, row, changed: if changes { processed } else { 0 } }
        }
    }

    /// Stores the next row in the scan's slot, which is empty, and counts changed rows like the executor. False if no
    /// statement was replanned.
    ///
    /// # Safety
    /// `node` is the scan for which [`Self::run`] was called.
    pub(in crate::pg) unsafe fn next(&mut self, node: *mut pg_sys::CustomScanState) -> bool {
        if !self.is_some() {
            return false;
        }
        // SAFETY: by the caller's promise. The row, which the store has copied, stays where it is until the next one; both
        // slots have the same columns.
        unsafe {
            let estate = (*node).ss.ps.state;
            let forward = (*estate).es_direction != pg_sys::ScanDirection::BackwardScanDirection;
            let found = tuplestore_gettupleslot(self.rows, forward, true, self.row);
            let counted = if found { self.changed.min(1) } else { self.changed };
            self.changed -= counted;
            (*estate).es_processed += counted;
            if found {
                show(self.row, (*node).ss.ss_ScanTupleSlot);
            }
        }
        true
    }

    /// Whether a statement was replanned and its rows are kept.
    pub(in crate::pg) fn is_some(&self) -> bool {
        !self.rows.is_null()
    }

    /// Discards the remaining rows.
    pub(in crate::pg) fn end(&mut self) {
        if self.is_some() {
            // SAFETY: both were made by `run`, and are ended once.
            unsafe {
                pg_sys::ExecDropSingleTupleTableSlot(self.row);
                pg_sys::tuplestore_end(self.rows);
            }
            self.rows = ptr::null_mut();
        }
    }
}

/// The same columns without type modifiers: a variable's modifier (`numeric(10,2)`) need not be a parameter's.
unsafe fn without_modifiers(columns: pg_sys::TupleDesc) -> pg_sys::TupleDesc {
    // SAFETY: a valid descriptor; the copy is changed only before anybody uses it.
    unsafe {
        let copy = CreateTupleDescCopy(columns);
        for i in 0..(*copy).natts as usize {
            (*tuple_attribute(copy, i)).atttypmod = -1;
        }
        copy
    }
}

/// Copies the first parameters of a list as values: the statement's text refers to them by number.
pub(super) unsafe fn copied(list: pg_sys::ParamListInfo, count: c_int) -> pg_sys::ParamListInfo {
    // SAFETY: the list is null or the executor's own; ids run from 1 to numParams.
    unsafe {
        let count = if list.is_null() { 0 } else { count.min((*list).numParams) };
        let copy = makeParamList(count);
        for id in 1..=count {
            let mut workspace = pg_sys::ParamExternData::default();
            let param = match (*list).paramFetch {
                Some(fetch) => *fetch(list, id, false, &mut workspace),
                None => *(*list).params.as_mut_ptr().add(id as usize - 1),
            };
            *(*copy).params.as_mut_ptr().add(id as usize - 1) = with_type(param);
        }
        copy
    }
}

/// A parameter that the text does not use may have no type; one of unknown type becomes text.
unsafe fn with_type(mut param: pg_sys::ParamExternData) -> pg_sys::ParamExternData {
    let unknown = param.ptype == pg_sys::UNKNOWNOID;
    if unknown && !param.isnull {
        // SAFETY: values of type unknown are C strings.
        param.value = unsafe { cstring_to_text(param.value.cast_mut_ptr()) }.into();
    }
    if param.ptype == Oid::INVALID {
        param.isnull = true;
    }
    if unknown || param.ptype == Oid::INVALID {
        param.ptype = pg_sys::TEXTOID;
    }
    param
}

/// Returns the number of rows changed or found.
unsafe fn execute(
    sql: *const c_char,
    params: pg_sys::ParamListInfo,
    receiver: *mut pg_sys::DestReceiver,
) -> u64 {
    // SAFETY: as in `run`; the list has its number of parameters, and SPI copies their types.
    unsafe {
        let count = (*params).numParams;
        let types = palloc0(size_of::<Oid>() * (count as usize + 1)).cast::<Oid>();
        for i in 0..count as usize {
            *types.add(i) = (*(*params).params.as_ptr().add(i)).ptype;
        }
        SPI_connect();
        let plan = SPI_prepare(sql, count, types);
        let options = pg_sys::SPIExecuteOptions { params, dest: receiver, ..Default::default() };
        let done = if plan.is_null() { -1 } else { SPI_execute_plan_extended(plan, &options) };
        if done < 0 {
            trampoline((), || {
                Err(Error::new(
                    Code::ERRCODE_T_R_SERIALIZATION_FAILURE,
                    "a distributed schema was moved after the statement was planned",
                )
                .detail("The statement could not be replanned.")
                .hint("Run the transaction again."))
            });
        }
        let processed = pg_sys::SPI_processed; // of the caller's again when it is finished
        SPI_finish();
        processed
    }
}
