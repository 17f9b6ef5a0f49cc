//! The way of every utility statement: what `ddl` does before it, the server's own work, what `ddl` does after.
//!
//! The hook's frame is not guarded and owns nothing with a destructor, so that the server's own errors pass it with
//! every field that they were raised with.

use crate::error::Result;
use crate::pg::error::trampoline;
use crate::pg::exec::{explain, nesting};
use crate::pg::tree::enclosing::Enclosing;
use crate::pg::tree::statement::Statement;
use crate::pg::tree::utility_view::{CallView, CopyView};
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::cell::Cell;
use std::ffi::c_char;
use std::sync::OnceLock;

/// What is to happen with a statement.
#[derive(Clone, Copy)]
pub struct Step {
    /// The statement to run, perhaps a changed copy.
    pub statement: Statement,
    /// Whether the server shall run it.
    pub run: bool,
    /// Whether [`Handler::after`] is to be called, and with what.
    pub frame: Option<usize>,
}

impl Step {
    /// The server runs it, and that is all.
    pub fn pass(statement: Statement) -> Self {
        Self { statement, run: true, frame: None }
    }

    /// Everything is done already.
    pub fn done(statement: &Statement) -> Self {
        Self { statement: *statement, run: false, frame: None }
    }
}

/// The command tag `SELECT n` that a statement ends with, where its rows were made on a node.
pub struct Completion {
    /// The number of rows.
    pub rows: u64,
}

/// Who decides about statements.
pub struct Handler {
    /// Before the server runs the statement.
    pub before: fn(&Statement) -> Result<Step>,
    /// After it; gets the frame of the step and the original statement.
    pub after: fn(usize, &Statement) -> Result<Option<Completion>>,
}

/// Who runs the statements that move rows or change the session.
pub struct RowHandler {
    /// COPY; gives the number of rows, or leaves it to the server.
    pub copy: fn(&CopyView, &Statement) -> Result<Option<u64>>,
    /// CALL; false leaves it to the server.
    pub call: fn(&CallView, &Statement) -> Result<bool>,
    /// Told where an EXPLAIN ANALYZE CREATE TABLE AS makes its table.
    pub explained_table: fn(Oid) -> Result<()>,
    /// Told after SET, RESET and DISCARD, and after DO and CALL, which may have done the same.
    pub settings_changed: fn(),
    /// Told after DISCARD.
    pub statements_dropped: fn(),
}

static HANDLER: OnceLock<Handler> = OnceLock::new();
static ROW_HANDLER: OnceLock<RowHandler> = OnceLock::new();

thread_local! {
    static PREVIOUS: Cell<pg_sys::ProcessUtility_hook_type> = const { Cell::new(None) };
}

unsafe extern "C-unwind" {
    // Not the binding of pgrx, which would strip errors of their position, constraint and table.
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

/// Sets who moves rows. Called once, from `_PG_init`.
pub fn install_rows(handler: RowHandler) {
    let _ = ROW_HANDLER.set(handler);
}

/// Puts the hook in. Called once, from `_PG_init`.
pub fn install(handler: Handler) {
    let _ = HANDLER.set(handler);
    // SAFETY: the postmaster is alone while it loads libraries.
    unsafe {
        PREVIOUS.set(pg_sys::ProcessUtility_hook);
        pg_sys::ProcessUtility_hook = Some(process_utility);
    }
}

#[allow(clippy::too_many_arguments)] // the server's signature
unsafe extern "C-unwind" fn process_utility(
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
        // EXECUTE is its query and nothing else.
        let deeper = (*(*planned).utilityStmt).type_ != NodeTag::T_ExecuteStmt;
        nesting::utility(enclosing, deeper, || {
            let statement = Statement::new(planned, source, context, !parameters.is_null());
            let tag = statement.tag();
            if trampoline(false, || move_rows(&statement, parameters, destination, completion)) {
                return;
            }
            let pass = Step::pass(statement);
            let step = trampoline(pass, || match HANDLER.get() {
                Some(handler) => (handler.before)(&statement),
                None => Ok(pass),
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
                trampoline((), || finish(frame, &statement, completion));
            }
            trampoline((), || {
                session_changed(tag);
                Ok(())
            });
        });
    }
}

/// Runs COPY and CALL on a node; false leaves the statement to the server.
///
/// # Safety
/// The arguments are those of the hook.
unsafe fn move_rows(
    statement: &Statement,
    parameters: pg_sys::ParamListInfo,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) -> Result<bool> {
    let Some(handler) = ROW_HANDLER.get() else { return Ok(false) };
    // SAFETY: the tag says what the node is; the rest is the caller's promise.
    unsafe {
        match statement.tag() {
            NodeTag::T_CopyStmt => {
                let view = CopyView::new(statement.node());
                let Some(rows) = (handler.copy)(&view, statement)? else { return Ok(false) };
                if !completion.is_null() {
                    (*completion).commandTag = pg_sys::CommandTag::CMDTAG_COPY;
                    (*completion).nprocessed = rows;
                }
                Ok(true)
            }
            NodeTag::T_CallStmt => {
                let view = CallView::new(statement.node(), parameters, destination);
                (handler.call)(&view, statement)
            }
            NodeTag::T_ExplainStmt => {
                explain::begins(statement.node());
                match explain::made_in(statement.node()) {
                    Some(namespace) => (handler.explained_table)(namespace).map(|()| false),
                    None => Ok(false),
                }
            }
            _ => Ok(false),
        }
    }
}

/// After the server ran a statement: tells what it may have changed about the session.
fn session_changed(tag: NodeTag) {
    let Some(handler) = ROW_HANDLER.get() else { return };
    match tag {
        NodeTag::T_VariableSetStmt | NodeTag::T_CallStmt | NodeTag::T_DoStmt => {
            (handler.settings_changed)();
        }
        NodeTag::T_DiscardStmt => {
            (handler.settings_changed)();
            (handler.statements_dropped)();
        }
        _ => {}
    }
}

fn finish(
    frame: usize,
    statement: &Statement,
    completion: *mut pg_sys::QueryCompletion,
) -> Result<()> {
    // SAFETY: what the server has just done is made visible to the look-ups to come.
    unsafe { pg_sys::CommandCounterIncrement() };
    let Some(handler) = HANDLER.get() else { return Ok(()) };
    let Some(Completion { rows }) = (handler.after)(frame, statement)? else { return Ok(()) };
    if !completion.is_null() {
        // SAFETY: the server's own struct, valid during the call of the hook.
        unsafe {
            (*completion).commandTag = pg_sys::CommandTag::CMDTAG_SELECT;
            (*completion).nprocessed = rows;
        }
    }
    Ok(())
}
