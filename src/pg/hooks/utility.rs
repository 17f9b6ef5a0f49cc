//! `ProcessUtility_hook`: the extension's work before and after the server's own processing of a utility statement.
//!
//! The hook's frame has no guard and owns nothing with a destructor, so that the server's errors keep all their fields.

use crate::error::Result;
use crate::pg::error::trampoline;
use crate::pg::exec::{explain, nesting};
use crate::pg::hooks::executor::ExecutorHooks;
use crate::pg::hooks::run_by::RunBy;
use crate::pg::tree::enclosing::Enclosing;
use crate::pg::tree::statement::Statement;
use crate::pg::tree::utility_view::{CallView, CopyView};
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::cell::Cell;
use std::ffi::c_char;

/// How to continue with a statement.
#[derive(Clone, Copy)]
pub struct Step {
    /// The statement to run, possibly a modified copy.
    pub statement: Statement,
    /// Whether the server shall run it.
    pub run: bool,
    /// The frame to be passed to [`UtilityHooks::after_utility`], if it is to be called.
    pub frame: Option<usize>,
}

impl Step {
    /// Only the server runs it.
    pub fn pass(statement: Statement) -> Self {
        Self { statement, run: true, frame: None }
    }

    /// Everything has been done.
    pub fn done(statement: &Statement) -> Self {
        Self { statement: *statement, run: false, frame: None }
    }
}

/// The command tag `SELECT n` of a statement whose rows were computed on a node.
pub struct Completion {
    /// The number of rows.
    pub rows: u64,
}

/// The extension's processing of utility statements.
pub trait UtilityHooks {
    /// Called before the server runs a statement; decides whether it shall.
    fn before_utility(statement: &Statement) -> Result<Step>;
    /// Called after the server has run a statement, with the frame of its step and the original statement.
    fn after_utility(frame: usize, statement: &Statement) -> Result<Option<Completion>>;
    /// Runs COPY and returns the number of rows.
    fn copy(view: &CopyView, statement: &Statement) -> Result<RunBy<u64>>;
    /// Runs CALL.
    fn call(view: &CallView, statement: &Statement) -> Result<RunBy>;
    /// Called with the schema in which an EXPLAIN ANALYZE CREATE TABLE AS would create its table.
    fn explained_table(namespace: Oid) -> Result<()>;
    /// Called after commands that may have changed the session's settings: SET, RESET and DISCARD, DO and CALL,
    /// `set_config()`.
    fn settings_changed();
    /// Called after DISCARD.
    fn statements_dropped();
}

thread_local! {
    static PREVIOUS: Cell<pg_sys::ProcessUtility_hook_type> = const { Cell::new(None) };
}

unsafe extern "C-unwind" {
    // Not pgrx's binding, which would strip errors of their position, constraint and table.
    fn standard_ProcessUtility(
        planned: *mut pg_sys::PlannedStmt,
        source: *const c_char,
        read_only_tree: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        parameters: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        destination: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

/// Installs the hook; called once, when the library is loaded.
pub(super) fn install<H: UtilityHooks + ExecutorHooks>() {
    // SAFETY: the postmaster is alone while it loads libraries.
    unsafe {
        PREVIOUS.set(pg_sys::ProcessUtility_hook);
        pg_sys::ProcessUtility_hook = Some(process_utility::<H>);
    }
}

#[allow(clippy::too_many_arguments)] // the server's signature
unsafe extern "C-unwind" fn process_utility<H: UtilityHooks + ExecutorHooks>(
    planned: *mut pg_sys::PlannedStmt,
    source: *const c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    parameters: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: the arguments are valid until this call returns; nothing here has a destructor.
    unsafe {
        let enclosing = Enclosing {
            source: source as usize,
            location: (*planned).stmt_location,
            length: (*planned).stmt_len,
        };
        // EXECUTE only runs its prepared query.
        let deeper = (*(*planned).utilityStmt).type_ != NodeTag::T_ExecuteStmt;
        nesting::utility(enclosing, deeper, H::statement_ended, || {
            let statement = Statement::new(planned, source, context, !parameters.is_null());
            let tag = statement.tag();
            let run_by = trampoline(RunBy::Server, || {
                move_rows::<H>(&statement, parameters, destination, completion)
            });
            if run_by == RunBy::Extension(()) {
                return;
            }
            let pass = Step::pass(statement);
            let step = trampoline(pass, || {
                let step = H::before_utility(&statement)?;
                step.statement.planned(); // of a call that is under way
                Ok(step)
            });
            let (planned, read_only_tree) = match step.statement.planned() {
                same if same == planned => (same, read_only_tree),
                copy => (copy, false),
            };
            let run = PREVIOUS.get().unwrap_or(standard_ProcessUtility);
            if step.run {
                run(
                    planned,
                    source,
                    read_only_tree,
                    context,
                    parameters,
                    environment,
                    destination,
                    completion,
                );
            }
            if let Some(frame) = step.frame {
                trampoline((), || finish::<H>(frame, &statement, completion));
            }
            trampoline((), || {
                session_changed::<H>(tag);
                Ok(())
            });
        });
    }
}

/// Runs COPY and CALL on a node.
///
/// # Safety
/// The arguments are those of the hook.
unsafe fn move_rows<H: UtilityHooks>(
    statement: &Statement,
    parameters: pg_sys::ParamListInfo,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) -> Result<RunBy> {
    // SAFETY: the tag says what the node is; the rest is the caller's promise.
    unsafe {
        match statement.tag() {
            NodeTag::T_CopyStmt => {
                let view = CopyView::new(statement.node());
                let RunBy::Extension(rows) = H::copy(&view, statement)? else {
                    return Ok(RunBy::Server);
                };
                if !completion.is_null() {
                    (*completion).commandTag = pg_sys::CommandTag::CMDTAG_COPY;
                    (*completion).nprocessed = rows;
                }
                Ok(RunBy::Extension(()))
            }
            NodeTag::T_CallStmt => {
                let view = CallView::new(statement.node(), parameters, destination);
                H::call(&view, statement)
            }
            NodeTag::T_ExplainStmt => {
                explain::begins(statement.node());
                if let Some(namespace) = explain::made_in(statement.node()) {
                    H::explained_table(namespace)?;
                }
                Ok(RunBy::Server)
            }
            _ => Ok(RunBy::Server),
        }
    }
}

/// Announces changes of the session's state after the server has run a statement.
fn session_changed<H: UtilityHooks>(tag: NodeTag) {
    match tag {
        NodeTag::T_VariableSetStmt | NodeTag::T_CallStmt | NodeTag::T_DoStmt => {
            H::settings_changed();
        }
        NodeTag::T_DiscardStmt => {
            H::settings_changed();
            H::statements_dropped();
        }
        _ => {}
    }
}

fn finish<H: UtilityHooks>(
    frame: usize,
    statement: &Statement,
    completion: *mut pg_sys::QueryCompletion,
) -> Result<()> {
    // SAFETY: makes the server's changes visible to the following lookups.
    unsafe { pg_sys::CommandCounterIncrement() };
    let Some(Completion { rows }) = H::after_utility(frame, statement)? else { return Ok(()) };
    if !completion.is_null() {
        // SAFETY: the server's own struct, valid during the call of the hook.
        unsafe {
            (*completion).commandTag = pg_sys::CommandTag::CMDTAG_SELECT;
            (*completion).nprocessed = rows;
        }
    }
    Ok(())
}
