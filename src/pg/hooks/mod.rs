//! Hooks into the planner and the executor.
//!
//! Each hook is a plain function without a guard, so that an error of the server's own passes with all its fields;
//! Helios' part runs in a trampoline beside it.

pub mod function_calls;
pub mod invalidation;
pub mod object_access;
pub mod scanner;
pub mod utility;

use super::error::trampoline;
use super::exec::plan::{self, RemotePlan};
use super::exec::{copy_change, custom_scan, evaluate, explain, nesting};
use super::session::client;
use super::tree::list;
use super::tree::{ParamUse, QueryTree};
use crate::error::Result;
use pgrx::pg_sys;
use std::ffi::{CStr, c_char, c_int};
use std::ptr;
use std::sync::OnceLock;

/// What the hooks call: the planner and the guard of the rooms above.
pub struct Callbacks {
    /// Plans a statement for a node.
    pub plan: fn(QueryTree<'_>, source: &[u8]) -> Result<Planned>,
    /// Told of every analysed query before it is rewritten; `named_variables` says that its source may name variables
    /// of a procedural language.
    pub analyzed: fn(QueryTree<'_>, source: &[u8], named_variables: bool) -> Result<()>,
    /// Whether a plan made by PostgreSQL must be replaced, given the relations that it names.
    pub reads_shell: fn(&mut dyn Iterator<Item = pg_sys::Oid>) -> Result<bool>,
    /// Whether the query calls functions that PostgreSQL may inline while it plans.
    pub may_inline: fn(QueryTree<'_>) -> bool,
    /// Stops a plan that would read or write a shell.
    pub guard: fn(&mut dyn Iterator<Item = (pg_sys::Oid, u8)>) -> Result<()>,
    /// Stops a plan that would write relations which may not be written now.
    pub writes: fn(&mut dyn Iterator<Item = pg_sys::Oid>) -> Result<()>,
}

/// What becomes of a statement.
pub enum Planned {
    /// PostgreSQL plans it.
    Here,
    /// It runs on a node.
    Remote(RemotePlan),
    /// It is an expression with these parameters, and is computed on a node.
    Expression(RemotePlan, Vec<ParamUse>),
}

static CALLBACKS: OnceLock<Callbacks> = OnceLock::new();
static PREVIOUS: OnceLock<Previous> = OnceLock::new();

struct Previous {
    planner: pg_sys::planner_hook_type,
    analyze: pg_sys::post_parse_analyze_hook_type,
    start: pg_sys::ExecutorStart_hook_type,
    run: pg_sys::ExecutorRun_hook_type,
    finish: pg_sys::ExecutorFinish_hook_type,
}

unsafe extern "C-unwind" {
    // Not the bindings of pgrx: their guards would strip errors of their fields.
    fn standard_planner(
        parse: *mut pg_sys::Query,
        source: *const c_char,
        options: c_int,
        params: pg_sys::ParamListInfo,
    ) -> *mut pg_sys::PlannedStmt;
    fn standard_ExecutorStart(desc: *mut pg_sys::QueryDesc, flags: c_int);
    #[cfg(not(feature = "pg18"))]
    fn standard_ExecutorRun(
        desc: *mut pg_sys::QueryDesc,
        direction: pg_sys::ScanDirection::Type,
        count: u64,
        once: bool,
    );
    #[cfg(feature = "pg18")]
    fn standard_ExecutorRun(
        desc: *mut pg_sys::QueryDesc,
        direction: pg_sys::ScanDirection::Type,
        count: u64,
    );
    fn standard_ExecutorFinish(desc: *mut pg_sys::QueryDesc);
}

/// Installs the hooks; once, when the library is loaded.
pub fn install(callbacks: Callbacks) {
    CALLBACKS.get_or_init(|| callbacks);
    // SAFETY: called while the library is loaded, in a single-threaded process.
    unsafe {
        PREVIOUS.get_or_init(|| Previous {
            planner: pg_sys::planner_hook,
            analyze: pg_sys::post_parse_analyze_hook,
            start: pg_sys::ExecutorStart_hook,
            run: pg_sys::ExecutorRun_hook,
            finish: pg_sys::ExecutorFinish_hook,
        });
        pg_sys::planner_hook = Some(planner);
        pg_sys::post_parse_analyze_hook = Some(analyzed);
        pg_sys::ExecutorStart_hook = Some(start);
        pg_sys::ExecutorRun_hook = Some(run);
        pg_sys::ExecutorFinish_hook = Some(finish);
    }
}

unsafe fn source_text<'a>(source: *const c_char) -> &'a [u8] {
    // SAFETY: null or a NUL-terminated text that outlives the hook's call.
    if source.is_null() { b"" } else { unsafe { CStr::from_ptr(source) }.to_bytes() }
}

unsafe extern "C-unwind" fn planner(
    parse: *mut pg_sys::Query,
    source: *const c_char,
    options: c_int,
    params: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: the arguments are the planner's own; the standard planner may change `parse`, so the second attempt
    // (a function that was inlined brought a shell in) needs the copy.
    unsafe {
        let remote = trampoline(ptr::null_mut(), || plan_remote(parse, source, options));
        if !remote.is_null() {
            return remote;
        }
        let copy = trampoline(ptr::null_mut(), || Ok(copy_if_inlinable(parse)));
        let local = match PREVIOUS.get().and_then(|p| p.planner) {
            Some(previous) => previous(parse, source, options, params),
            None => standard_planner(parse, source, options, params),
        };
        if copy.is_null() {
            return local;
        }
        let remote = trampoline(ptr::null_mut(), || replan(local, copy, source, options));
        if remote.is_null() { local } else { remote }
    }
}

unsafe fn plan_remote(
    parse: *mut pg_sys::Query,
    source: *const c_char,
    options: c_int,
) -> Result<*mut pg_sys::PlannedStmt> {
    // SAFETY: PostgreSQL gives a valid query and text.
    let (query, text) = unsafe { (QueryTree::new(parse), source_text(source)) };
    let (Some(query), Some(callbacks)) = (query, CALLBACKS.get()) else {
        return Ok(ptr::null_mut());
    };
    Ok(match (callbacks.plan)(query, text)? {
        Planned::Remote(remote) => plan::build(query, &remote, options),
        Planned::Expression(remote, params) => {
            evaluate::substitute(query, &remote, &params);
            ptr::null_mut()
        }
        Planned::Here => ptr::null_mut(),
    })
}

unsafe fn copy_if_inlinable(parse: *mut pg_sys::Query) -> *mut pg_sys::Query {
    // SAFETY: PostgreSQL gives a valid query.
    unsafe {
        match (QueryTree::new(parse), CALLBACKS.get()) {
            (Some(query), Some(callbacks)) if (callbacks.may_inline)(query) => {
                pg_sys::copyObjectImpl(parse.cast()).cast()
            }
            _ => ptr::null_mut(),
        }
    }
}

/// Plans `copy` again if the finished plan reads a shell that only an inlined function names.
unsafe fn replan(
    local: *mut pg_sys::PlannedStmt,
    copy: *mut pg_sys::Query,
    source: *const c_char,
    options: c_int,
) -> Result<*mut pg_sys::PlannedStmt> {
    let Some(callbacks) = CALLBACKS.get() else { return Ok(ptr::null_mut()) };
    // SAFETY: a finished plan's relationOids is a list of OIDs; `copy` is a valid query. Its relations are added as
    // range table entries of nothing, so that facts are gathered from them as well.
    unsafe {
        let relations = list::oids((*local).relationOids);
        if !(callbacks.reads_shell)(&mut relations.clone())? {
            return Ok(ptr::null_mut());
        }
        for oid in relations {
            let entry =
                pg_sys::palloc0(size_of::<pg_sys::RangeTblEntry>()).cast::<pg_sys::RangeTblEntry>();
            (*entry).type_ = pg_sys::NodeTag::T_RangeTblEntry;
            (*entry).rtekind = pg_sys::RTEKind::RTE_RELATION;
            (*entry).relid = oid;
            (*entry).relkind = pg_sys::get_rel_relkind(oid);
            (*entry).rellockmode = pg_sys::AccessShareLock as c_int;
            // EXPLAIN looks for a name in every entry.
            (*entry).eref = pg_sys::makeAlias(pg_sys::get_rel_name(oid), ptr::null_mut());
            (*copy).rtable = pg_sys::lappend((*copy).rtable, entry.cast());
        }
        plan_remote(copy, source, options)
    }
}

unsafe extern "C-unwind" fn analyzed(
    pstate: *mut pg_sys::ParseState,
    query: *mut pg_sys::Query,
    jumble: *mut pg_sys::JumbleState,
) {
    // SAFETY: the arguments are the parser's own.
    unsafe {
        if let Some(previous) = PREVIOUS.get().and_then(|p| p.analyze) {
            previous(pstate, query, jumble);
        }
        trampoline((), || {
            let named = (*pstate).p_pre_columnref_hook.is_some()
                || (*pstate).p_post_columnref_hook.is_some();
            match (QueryTree::new(query), CALLBACKS.get()) {
                (Some(tree), Some(callbacks)) => {
                    (callbacks.analyzed)(tree, source_text((*pstate).p_sourcetext), named)
                }
                _ => Ok(()),
            }
        });
    }
}

unsafe extern "C-unwind" fn start(desc: *mut pg_sys::QueryDesc, flags: c_int) {
    // SAFETY: the arguments are the executor's own.
    unsafe {
        trampoline((), || guard(desc, flags));
        copy_change::waive_rights(desc);
        match PREVIOUS.get().and_then(|p| p.start) {
            Some(previous) => previous(desc, flags),
            None => standard_ExecutorStart(desc, flags),
        }
    }
}

/// The last gate: whatever path a plan took, it does not touch a shell, nor write behind a fence.
unsafe fn guard(desc: *mut pg_sys::QueryDesc, flags: c_int) -> Result<()> {
    let Some(callbacks) = CALLBACKS.get() else { return Ok(()) };
    // SAFETY: a finished plan's range table is a list of range table entries.
    unsafe {
        let statement = (*desc).plannedstmt;
        if custom_scan::scan_of_plan((*statement).planTree) {
            return Ok(());
        }
        let mut relations = list::iter::<pg_sys::RangeTblEntry>((*statement).rtable)
            // From 16 on an expanded view is a subquery that still has its name.
            .filter(|&rte| match (*rte).rtekind {
                pg_sys::RTEKind::RTE_RELATION => true,
                pg_sys::RTEKind::RTE_SUBQUERY => (*rte).relid != pg_sys::Oid::INVALID,
                _ => false,
            })
            .map(|rte| ((*rte).relid, (*rte).relkind as u8));
        (callbacks.guard)(&mut relations)?;
        let written = (*statement).resultRelations;
        if written.is_null() || flags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as c_int != 0 {
            return Ok(());
        }
        let entry = |index: c_int| {
            list::nth::<pg_sys::RangeTblEntry>((*statement).rtable, index as usize - 1)
        };
        let mut written = list::integers(written).map(|index| (*entry(index)).relid);
        (callbacks.writes)(&mut written)
    }
}

unsafe extern "C-unwind" fn run(
    desc: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
    #[cfg(not(feature = "pg18"))] once: bool,
) {
    // SAFETY: the arguments are the executor's own.
    unsafe {
        nesting::execute(|| {
            let unwanted = (*(*desc).dest).mydest == pg_sys::CommandDest::DestNone;
            custom_scan::set_demand((*desc).planstate, count, unwanted);
            if trampoline(false, || pass_through(desc, direction, count)) {
                return;
            }
            match PREVIOUS.get().and_then(|p| p.run) {
                #[cfg(not(feature = "pg18"))]
                Some(previous) => previous(desc, direction, count, once),
                #[cfg(not(feature = "pg18"))]
                None => standard_ExecutorRun(desc, direction, count, once),
                #[cfg(feature = "pg18")]
                Some(previous) => previous(desc, direction, count),
                #[cfg(feature = "pg18")]
                None => standard_ExecutorRun(desc, direction, count),
            }
        });
    }
}

unsafe extern "C-unwind" fn finish(desc: *mut pg_sys::QueryDesc) {
    // SAFETY: the argument is the executor's own. AFTER triggers run in here.
    unsafe {
        nesting::execute(|| match PREVIOUS.get().and_then(|p| p.finish) {
            Some(previous) => previous(desc),
            None => standard_ExecutorFinish(desc),
        });
    }
}

/// The head of printtup.c's private DR_printtup.
#[repr(C)]
struct PrintReceiver {
    public: pg_sys::DestReceiver,
    portal: pg_sys::Portal,
}

/// Runs a whole result to the client without decoding its rows, where that gives the same bytes; false if not.
unsafe fn pass_through(
    desc: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
) -> Result<bool> {
    // SAFETY: the executor's own descriptor; a destination of kind Remote(Execute) is a DR_printtup.
    unsafe {
        let dest = (*desc).dest;
        let remote = matches!(
            (*dest).mydest,
            pg_sys::CommandDest::DestRemote | pg_sys::CommandDest::DestRemoteExecute
        );
        let returns =
            (*desc).operation == pg_sys::CmdType::CMD_SELECT || (*(*desc).plannedstmt).hasReturning;
        if !remote
            || !returns
            || count != 0
            || direction != pg_sys::ScanDirection::ForwardScanDirection
            || !custom_scan::is_fresh((*desc).planstate)
            || !client::speaks_database_encoding()
            || explain::executing().is_some()
        {
            return Ok(false);
        }
        let portal = (*dest.cast::<PrintReceiver>()).portal;
        let Some((formats, records)) = client_formats(portal, (*desc).tupDesc) else {
            return Ok(false);
        };
        let before = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = (*(*desc).estate).es_query_cxt;
        if !(*desc).totaltime.is_null() {
            pg_sys::InstrStartNode((*desc).totaltime);
        }
        let startup = (*dest).rStartup;
        let (operation, descriptor) = ((*desc).operation as c_int, (*desc).tupDesc);
        let begin = || {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                if let Some(startup) = startup {
                    startup(dest, operation, descriptor);
                }
            });
        };
        let rows_to = custom_scan::ClientRows { begin: &begin, formats, records };
        let Some(rows) = custom_scan::run_to_client((*desc).planstate, &rows_to)? else {
            if !(*desc).totaltime.is_null() {
                pg_sys::InstrStopNode((*desc).totaltime, 0.0);
            }
            pg_sys::CurrentMemoryContext = before;
            return Ok(false);
        };
        (*(*desc).estate).es_processed = rows;
        let shutdown = (*dest).rShutdown;
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            if let Some(shutdown) = shutdown {
                shutdown(dest);
            }
        });
        if !(*desc).totaltime.is_null() {
            pg_sys::InstrStopNode((*desc).totaltime, rows as f64);
        }
        (*desc).already_executed = true;
        pg_sys::CurrentMemoryContext = before;
        Ok(true)
    }
}

/// The formats that the client asked for, and the columns that are records in binary form; `None` if a column's binary
/// form holds OIDs that differ between servers, so that its rows must be decoded.
unsafe fn client_formats(
    portal: pg_sys::Portal,
    descriptor: pg_sys::TupleDesc,
) -> Option<(Vec<i16>, Vec<usize>)> {
    let mut records = Vec::new();
    // SAFETY: a portal with formats has one a column of its descriptor, which is the query's.
    unsafe {
        let columns = (*descriptor).natts as usize;
        if portal.is_null() || (*portal).formats.is_null() {
            return Some((Vec::new(), records));
        }
        let formats = std::slice::from_raw_parts((*portal).formats, columns);
        for (i, &format) in formats.iter().enumerate() {
            let of_type = (*super::exec::decode::tuple_attribute(descriptor, i)).atttypid;
            if format != 0 && of_type == pg_sys::RECORDOID {
                records.push(i);
            } else if format != 0 && !super::exec::params::same_binary_everywhere(of_type) {
                return None;
            }
        }
        let all_text = formats.iter().all(|&format| format == 0);
        Some((if all_text { Vec::new() } else { formats.to_vec() }, records))
    }
}
