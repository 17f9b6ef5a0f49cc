//! The executor's hooks: `ExecutorStart_hook`, `ExecutorRun_hook` and `ExecutorFinish_hook`.

use crate::error::Result;
use crate::pg::error::trampoline;
use crate::pg::exec::custom_scan::{Attempt, Scan};
use crate::pg::exec::{copy_change, custom_scan, nesting, part_scan, plan_walk, remote_plan};
use crate::pg::hooks::run_by::RunBy;
use crate::pg::session::client;
use crate::pg::tree::list;
use pgrx::pg_sys;
use std::ffi::c_int;
use std::sync::OnceLock;

/// Decisions of the extension while PostgreSQL executes a plan.
pub trait ExecutorHooks {
    /// State of the custom scan that runs a statement on a node.
    type Scan: Scan;
    /// Rejects a plan that would read or write one of these relations, however it was created.
    fn check_relations(relations: &mut dyn Iterator<Item = PlannedRelation>) -> Result<()>;
    /// Rejects a plan that would write relations that must not be written now.
    fn check_written(relations: &mut dyn Iterator<Item = pg_sys::Oid>) -> Result<()>;
    /// Called at the end of a client's statement. Raises no errors.
    fn statement_ended();
}

/// A relation that a finished plan names.
#[derive(Clone, Copy, Debug)]
pub struct PlannedRelation {
    /// Its OID.
    pub oid: pg_sys::Oid,
    /// `pg_class.relkind`.
    pub kind: u8,
    /// Whether the plan reads, locks or changes its rows on this server.
    pub used: bool,
}

static PREVIOUS: OnceLock<Previous> = OnceLock::new();

struct Previous {
    start: pg_sys::ExecutorStart_hook_type,
    run: pg_sys::ExecutorRun_hook_type,
    finish: pg_sys::ExecutorFinish_hook_type,
}

unsafe extern "C-unwind" {
    // Not pgrx's bindings, whose guards would strip errors of their fields.
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

/// Installs the hooks and registers the custom scan; called once, when the library is loaded.
pub(super) fn install<H: ExecutorHooks>() {
    custom_scan::install::<H::Scan>();
    part_scan::install::<H::Scan>();
    // SAFETY: called while the library is loaded, in a single-threaded process.
    unsafe {
        PREVIOUS.get_or_init(|| Previous {
            start: pg_sys::ExecutorStart_hook,
            run: pg_sys::ExecutorRun_hook,
            finish: pg_sys::ExecutorFinish_hook,
        });
        pg_sys::ExecutorStart_hook = Some(start::<H>);
        pg_sys::ExecutorRun_hook = Some(run::<H>);
        pg_sys::ExecutorFinish_hook = Some(finish::<H>);
    }
}

unsafe extern "C-unwind" fn start<H: ExecutorHooks>(desc: *mut pg_sys::QueryDesc, flags: c_int) {
    nesting::execution_starts();
    // SAFETY: the arguments are the executor's own.
    unsafe {
        trampoline((), || guard::<H>(desc, flags));
        copy_change::waive_rights(desc);
        match PREVIOUS.get().and_then(|p| p.start) {
            Some(previous) => previous(desc, flags),
            None => standard_ExecutorStart(desc, flags),
        }
        if flags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as c_int == 0 {
            part_scan::run_first((*desc).estate);
            trampoline((), || {
                part_scan::begin_all::<H::Scan>((*desc).estate)?;
                custom_scan::open_cursor::<H::Scan>(desc)
            });
        } else {
            trampoline((), || custom_scan::before_explain::<H::Scan>((*desc).planstate));
        }
    }
}

/// The final check of every plan before it runs.
unsafe fn guard<H: ExecutorHooks>(desc: *mut pg_sys::QueryDesc, flags: c_int) -> Result<()> {
    // SAFETY: a finished plan's range table is a list of range table entries.
    unsafe {
        let statement = (*desc).plannedstmt;
        if remote_plan::scan_of_plan((*statement).planTree) {
            return Ok(());
        }
        let used = used_entries(statement);
        let mut relations = list::iter::<pg_sys::RangeTblEntry>((*statement).rtable)
            .enumerate()
            // Since version 16 an expanded view is a subquery that still has its name.
            .filter(|&(_, rte)| match (*rte).rtekind {
                pg_sys::RTEKind::RTE_RELATION => true,
                pg_sys::RTEKind::RTE_SUBQUERY => (*rte).relid != pg_sys::Oid::INVALID,
                _ => false,
            })
            .map(|(index, rte)| PlannedRelation {
                oid: (*rte).relid,
                kind: (*rte).relkind as u8,
                used: used.contains(&(index + 1)),
            });
        H::check_relations(&mut relations)?;
        let written = (*statement).resultRelations;
        if written.is_null() || flags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as c_int != 0 {
            return Ok(());
        }
        let entry = |index: c_int| {
            list::nth::<pg_sys::RangeTblEntry>((*statement).rtable, index as usize - 1)
        };
        let mut written = list::integers(written).map(|index| (*entry(index)).relid);
        H::check_written(&mut written)
    }
}

/// The numbers of range table entries whose rows the plan reads, locks or changes here. Others are named for their privileges
/// alone, or read by parts on their nodes.
///
/// # Safety
/// `statement` is a valid planned statement.
unsafe fn used_entries(statement: *mut pg_sys::PlannedStmt) -> Vec<usize> {
    let mut used = Vec::new();
    // SAFETY: by the caller's promise; the lists are of integers and of PlanRowMark.
    unsafe {
        plan_walk::walk_statement(statement, &mut |plan, _| {
            if !remote_plan::is_part(plan) {
                used.extend(plan_walk::scanned(plan));
            }
        });
        used.extend(list::integers((*statement).resultRelations).map(|number| number as usize));
        let locked = list::iter::<pg_sys::PlanRowMark>((*statement).rowMarks)
            .filter(|&mark| (*mark).markType != pg_sys::RowMarkType::ROW_MARK_COPY);
        used.extend(locked.map(|mark| (*mark).rti as usize));
    }
    used
}

unsafe extern "C-unwind" fn run<H: ExecutorHooks>(
    desc: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
    #[cfg(not(feature = "pg18"))] once: bool,
) {
    // SAFETY: the arguments are the executor's own.
    unsafe {
        nesting::execute(H::statement_ended, || {
            let unwanted = (*(*desc).dest).mydest == pg_sys::CommandDest::DestNone;
            custom_scan::set_demand((*desc).planstate, count, unwanted);
            let run_by = trampoline(RunBy::Server, || pass_through::<H>(desc, direction, count));
            if run_by == RunBy::Extension(()) {
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

unsafe extern "C-unwind" fn finish<H: ExecutorHooks>(desc: *mut pg_sys::QueryDesc) {
    // SAFETY: the argument is the executor's own. AFTER triggers run in here.
    unsafe {
        nesting::execute(H::statement_ended, || match PREVIOUS.get().and_then(|p| p.finish) {
            Some(previous) => previous(desc),
            None => standard_ExecutorFinish(desc),
        });
    }
}

/// Beginning of printtup.c's private DR_printtup.
#[repr(C)]
struct PrintReceiver {
    public: pg_sys::DestReceiver,
    portal: pg_sys::Portal,
}

/// Sends a whole result to the client without decoding its rows, if that gives the same bytes.
unsafe fn pass_through<H: ExecutorHooks>(
    desc: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
) -> Result<RunBy> {
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
            || !custom_scan::is_fresh::<H::Scan>((*desc).planstate)
            || !client::speaks_database_encoding()
            || nesting::executing_explain().is_some()
        {
            return Ok(RunBy::Server);
        }
        let portal = (*dest.cast::<PrintReceiver>()).portal;
        let Some((formats, records)) = client_formats(portal, (*desc).tupDesc) else {
            return Ok(RunBy::Server);
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
        let send = |row: &[u8]| {
            client::send(b'D', row);
            Ok(())
        };
        let rows_to = custom_scan::ClientRows { begin: &begin, formats, records, send: &send };
        let Attempt::Done(rows) =
            custom_scan::run_to_client::<H::Scan>((*desc).planstate, &rows_to)?
        else {
            if !(*desc).totaltime.is_null() {
                pg_sys::InstrStopNode((*desc).totaltime, 0.0);
            }
            pg_sys::CurrentMemoryContext = before;
            return Ok(RunBy::Server);
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
        Ok(RunBy::Extension(()))
    }
}

/// The formats requested by the client, and the columns that are records in binary format; `None` if a column's binary
/// form contains OIDs that differ between servers, so that its rows must be decoded.
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
            let of_type = (*crate::pg::catalog::types::tuple_attribute(descriptor, i)).atttypid;
            if format != 0 && of_type == pg_sys::RECORDOID {
                records.push(i);
            } else if format != 0 && !crate::pg::exec::params::same_binary_everywhere(of_type) {
                return None;
            }
        }
        let all_text = formats.iter().all(|&format| format == 0);
        Some((if all_text { Vec::new() } else { formats.to_vec() }, records))
    }
}
