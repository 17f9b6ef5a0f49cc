//! Changes the copy of a reference table on a node as the role that changed the table on the coordinator.
//!
//! That role's privileges were checked there: they may come from a view, apply to some columns only, or be those of a
//! foreign key's action. So only the origin of the request is checked here (see `executor::reference_change`), and code
//! of the copy runs as it ran there, in a security-restricted operation. Foreign keys of tenants are checked after all
//! statements have run, as the session's user, as they would be at the end of the single statement on one server.

use crate::error::{Error, Result};
use crate::pg::error::trampoline;
use crate::pg::exec::function_call::argument;
use crate::pg::exec::nesting;
use crate::pg::session::xact;
use crate::pg::tree::list;
use pgrx::pg_sys::{self, Oid, errcodes::PgSqlErrorCode as Code};
use std::cell::Cell;
use std::ffi::{CString, c_char, c_int, c_long};
use std::ptr;

unsafe extern "C-unwind" {
    // Not pgrx's bindings, whose guards would strip errors of their fields.
    fn SPI_connect() -> c_int;
    fn SPI_finish() -> c_int;
    fn SPI_prepare(text: *const c_char, count: c_int, types: *mut Oid) -> pg_sys::SPIPlanPtr;
    fn SPI_execute_snapshot(
        plan: pg_sys::SPIPlanPtr,
        values: *mut pg_sys::Datum,
        nulls: *const c_char,
        snapshot: pg_sys::Snapshot,
        crosscheck: pg_sys::Snapshot,
        read_only: bool,
        fire_triggers: bool,
        count: c_long,
    ) -> c_int;
    fn AfterTriggerBeginQuery();
    fn AfterTriggerEndQuery(estate: *mut pg_sys::EState);
}

/// A request as received.
pub struct Request {
    pub role: String,
    pub schema: String,
    pub table: String,
    /// Statements separated by NUL bytes.
    pub statements: Vec<u8>,
    pub signature: String,
}

/// The accepted request: the role, the table, the statements.
pub type Accepted = (Oid, Oid, Vec<CString>);

/// Decides whether a change of a copy is carried out.
pub trait CopyChangeHooks {
    /// Accepts a request of the coordinator, and rejects others.
    fn accept(request: &Request) -> Result<Accepted>;
}

/// The statement being executed.
#[derive(Clone, Copy)]
struct Statement {
    relation: Oid,
    /// Its text as seen by the executor; no other statement has it at this address.
    source: *const c_char,
    depth: u32,
    /// Nesting level of the transaction.
    level: u32,
    has_started: bool,
}

thread_local!(static STATEMENT: Cell<Option<Statement>> = const { Cell::new(None) });

/// Forgets a failed statement: work at this nesting level or deeper has been rolled back.
pub fn forget(level: u32) {
    if STATEMENT.get().is_some_and(|statement| statement.level >= level) {
        STATEMENT.set(None);
    }
}

/// Whether the copy is being changed by the requested statement itself, and not by code that it calls.
pub fn is_under_way(relation: Oid) -> bool {
    let is = |statement: Statement| {
        statement.relation == relation
            && statement.has_started
            && nesting::depth() == statement.depth + 1
    };
    STATEMENT.get().is_some_and(is)
}

/// Called before the executor checks permissions.
///
/// # Safety
/// The descriptor is the executor's.
pub(in crate::pg) unsafe fn waive_rights(desc: *mut pg_sys::QueryDesc) {
    let Some(mut statement) = STATEMENT.get() else { return };
    // SAFETY: by the caller's promise. The plan was made for this one execution.
    unsafe {
        if (*desc).sourceText != statement.source || statement.has_started {
            return;
        }
        #[cfg(feature = "pg15")]
        let entries = list::iter::<pg_sys::RangeTblEntry>((*(*desc).plannedstmt).rtable);
        #[cfg(not(feature = "pg15"))]
        let entries = list::iter::<pg_sys::RTEPermissionInfo>((*(*desc).plannedstmt).permInfos);
        for entry in entries.filter(|&entry| (*entry).relid == statement.relation) {
            (*entry).requiredPerms = 0;
        }
    }
    statement.has_started = true;
    STATEMENT.set(Some(statement));
}

/// An accepted request in the server's memory, so that errors may be thrown past it.
#[derive(Clone, Copy)]
struct Work {
    role: Oid,
    relation: Oid,
    statements: *mut *mut c_char,
    count: usize,
}

/// The SQL function `helios.change_copy`.
///
/// # Safety
/// Called by the function manager, from a frame that owns nothing with a destructor.
pub unsafe fn change_copy<H: CopyChangeHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    let none =
        Work { role: Oid::INVALID, relation: Oid::INVALID, statements: ptr::null_mut(), count: 0 };
    // SAFETY: by the caller's promise.
    let rows = unsafe {
        let work = trampoline(none, || accept::<H>(fcinfo));
        run(work)
    };
    pg_sys::Datum::from(rows as i64)
}

unsafe fn accept<H: CopyChangeHooks>(fcinfo: pg_sys::FunctionCallInfo) -> Result<Work> {
    // SAFETY: the function is strict and declared with these arguments.
    unsafe {
        let text = |number| String::from_utf8_lossy(&bytes(argument(fcinfo, number))).into_owned();
        let request = Request {
            role: text(0),
            schema: text(1),
            table: text(2),
            statements: bytes(argument(fcinfo, 3)),
            signature: text(4),
        };
        let (role, relation, texts) = H::accept(&request)?;
        let size = texts.len() * size_of::<*mut c_char>();
        let statements = pg_sys::palloc(size.max(1)).cast::<*mut c_char>();
        for (i, text) in texts.iter().enumerate() {
            *statements.add(i) = pg_sys::pstrdup(text.as_ptr());
        }
        Ok(Work { role, relation, statements, count: texts.len() })
    }
}

/// The bytes of a text or bytea.
unsafe fn bytes(datum: usize) -> Vec<u8> {
    // SAFETY: by the caller's promise that it is one.
    unsafe {
        let value = pg_sys::pg_detoast_datum_packed(datum as *mut pg_sys::varlena);
        let data = pgrx::varlena::vardata_any(value).cast::<u8>();
        std::slice::from_raw_parts(data, pgrx::varlena::varsize_any_exhdr(value)).to_vec()
    }
}

/// Runs the statements; returns the number of rows that they changed.
///
/// # Safety
/// Only on a frame that owns nothing with a destructor.
unsafe fn run(work: Work) -> u64 {
    // SAFETY: by the caller's promise, errors may pass through. Aborting the (sub)transaction then restores user, settings
    // and triggers, and removes the statement.
    unsafe {
        let (mut user, mut context) = (pg_sys::InvalidOid, 0);
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        let settings = pg_sys::NewGUCNestLevel();
        let restricted = pg_sys::SECURITY_RESTRICTED_OPERATION | pg_sys::SECURITY_NOFORCE_RLS;
        AfterTriggerBeginQuery();
        pg_sys::SetUserIdAndSecContext(work.role, context | restricted as c_int);
        SPI_connect();
        let mut rows = 0;
        for i in 0..work.count {
            rows += execute(work.relation, *work.statements.add(i));
        }
        SPI_finish();
        pg_sys::AtEOXact_GUC(false, settings);
        pg_sys::SetUserIdAndSecContext(user, context);
        AfterTriggerEndQuery(ptr::null_mut());
        rows
    }
}

unsafe fn execute(relation: Oid, text: *const c_char) -> u64 {
    // SAFETY: as for `run`; the plan lives until SPI_finish.
    unsafe {
        let plan = SPI_prepare(text, 0, ptr::null_mut());
        let sources =
            if plan.is_null() { ptr::null_mut() } else { pg_sys::SPI_plan_get_plan_sources(plan) };
        if list::len(sources) != 1 {
            trampoline((), || {
                let message = "change of a reference table's copy must be a single statement";
                Err(Error::new(Code::ERRCODE_SYNTAX_ERROR, message))
            });
        }
        let source = (*list::nth::<pg_sys::CachedPlanSource>(sources, 0)).query_string;
        let (depth, level) = (nesting::depth(), xact::nest_level());
        STATEMENT.set(Some(Statement { relation, source, depth, level, has_started: false }));
        let (values, newest) = (ptr::null_mut(), ptr::null_mut());
        SPI_execute_snapshot(plan, values, ptr::null(), newest, newest, false, false, 0);
        STATEMENT.set(None);
        pg_sys::SPI_processed
    }
}
