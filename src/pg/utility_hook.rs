//! The way of every utility statement: what `ddl` does before it, the server's own work, what `ddl` does after.
//!
//! The hook's frame is not guarded and owns nothing with a destructor, so that the server's own errors pass it with
//! every field that they were raised with.

use crate::error::Result;
use crate::pg::error::trampoline;
use crate::pg::statement::Statement;
use pgrx::pg_sys;
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
    /// The command tag, if the server would not give the right one.
    pub completion: Option<Completion>,
}

impl Step {
    /// The server runs it, and that is all.
    pub fn pass(statement: Statement) -> Self {
        Self { statement, run: true, frame: None, completion: None }
    }

    /// Everything is done already.
    pub fn done(statement: &Statement) -> Self {
        Self { statement: *statement, run: false, frame: None, completion: None }
    }
}

/// A command tag that counts rows, where a node made or moved them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// `SELECT n`.
    Select(u64),
    /// `COPY n`.
    Copy(u64),
}

/// Who decides about statements.
pub struct Handler {
    /// Before the server runs the statement.
    pub before: fn(&Statement) -> Result<Step>,
    /// After it; gets the frame of the step and the original statement.
    pub after: fn(usize, &Statement) -> Result<Option<Completion>>,
}

static HANDLER: OnceLock<Handler> = OnceLock::new();

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
        let statement = Statement::new(planned, source, context, parameters, destination);
        let pass = Step::pass(statement);
        let step = trampoline(pass, || match HANDLER.get() {
            Some(handler) => (handler.before)(&statement),
            None => Ok(pass),
        });
        let (planned, read_only_tree) = match step.statement.planned() {
            same if same == planned => (same, read_only_tree),
            copy => (copy, false),
        };
        if step.run {
            match PREVIOUS.get() {
                Some(previous) => previous(
                    planned,
                    source,
                    read_only_tree,
                    context,
                    parameters,
                    environment,
                    destination,
                    completion,
                ),
                None => standard_ProcessUtility(
                    planned,
                    source,
                    read_only_tree,
                    context,
                    parameters,
                    environment,
                    destination,
                    completion,
                ),
            }
        }
        if let Some(frame) = step.frame {
            trampoline((), || finish(frame, &statement, completion));
        }
        if let Some(tag) = step.completion {
            complete(tag, completion);
        }
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
    if let Some(tag) = (handler.after)(frame, statement)? {
        complete(tag, completion);
    }
    Ok(())
}

fn complete(tag: Completion, completion: *mut pg_sys::QueryCompletion) {
    if completion.is_null() {
        return;
    }
    let (tag, rows) = match tag {
        Completion::Select(rows) => (pg_sys::CommandTag::CMDTAG_SELECT, rows),
        Completion::Copy(rows) => (pg_sys::CommandTag::CMDTAG_COPY, rows),
    };
    // SAFETY: the server's own struct, valid during the call of the hook.
    unsafe {
        (*completion).commandTag = tag;
        (*completion).nprocessed = rows;
    }
}
