//! The trigger functions of the extension. Each looks at what it is called for: a direct call, another table and another
//! event than those of its own triggers are errors (39P01), not surprises.

use crate::error::{Error, Result};
use crate::pg::catalog::names;
use crate::pg::error::trampoline;
use crate::pg::exec::row_trigger::{self, Fired};
use pgrx::pg_sys::{self, Oid, errcodes::PgSqlErrorCode as Code};

/// What the extension does when one of its own triggers fires.
pub trait TriggerHooks {
    /// A table of the directory was changed.
    fn directory_changed();
    /// A table of fences was changed.
    fn fence_changed(table: Oid);
    /// A reference table was written on this server.
    fn reference_write(table: Oid, fired: Fired) -> Result<()>;
    /// The copy of a reference table is about to be written on a node.
    fn reference_copy(table: Oid) -> Result<()>;
}

/// The trigger function `helios.directory_changed`.
///
/// # Safety
/// `fcinfo` is the function manager's, and the caller owns nothing with a destructor.
pub unsafe fn directory_changed<H: TriggerHooks>(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    let body = |called: &Called| {
        called.require(is_after_statement)?;
        called.require_catalog()?;
        H::directory_changed();
        Ok(())
    };
    // SAFETY: by the caller's promise.
    unsafe { run(fcinfo, "directory_changed", body) }
}

/// The trigger function `helios.fence_changed`.
///
/// # Safety
/// As [`directory_changed`].
pub unsafe fn fence_changed<H: TriggerHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    let body = |called: &Called| {
        called.require(is_after_statement)?;
        called.require_catalog()?;
        H::fence_changed(called.relation());
        Ok(())
    };
    // SAFETY: by the caller's promise.
    unsafe { run(fcinfo, "fence_changed", body) }
}

/// The trigger function `helios.reference_write`.
///
/// # Safety
/// As [`directory_changed`].
pub unsafe fn reference_write<H: TriggerHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    let body = |called: &Called| {
        called.require(|event| {
            is_after_statement(event) || is_after_row(event) || is_before_statement(event)
        })?;
        // SAFETY: `run` made sure that this is a trigger's call.
        let (relation, fired) = unsafe { row_trigger::view(called.data) };
        H::reference_write(relation, fired)
    };
    // SAFETY: by the caller's promise.
    unsafe { run(fcinfo, "reference_write", body) }
}

/// The trigger function `helios.reference_copy`.
///
/// # Safety
/// As [`directory_changed`].
pub unsafe fn reference_copy<H: TriggerHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    let body = |called: &Called| {
        called.require(is_before_statement)?;
        H::reference_copy(called.relation())
    };
    // SAFETY: by the caller's promise.
    unsafe { run(fcinfo, "reference_copy", body) }
}

/// A call of a trigger function.
struct Called {
    function: &'static str,
    data: *mut pg_sys::TriggerData,
}

/// # Safety
/// `fcinfo` is the function manager's, and the caller owns nothing with a destructor.
unsafe fn run(
    fcinfo: pg_sys::FunctionCallInfo,
    function: &'static str,
    body: impl FnOnce(&Called) -> Result<()>,
) -> pg_sys::Datum {
    // SAFETY: by the caller's promise; a call as a trigger has its data as context.
    unsafe {
        trampoline((), || {
            let context = (*fcinfo).context;
            if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
                return Err(violated(function, "it is not called as a trigger"));
            }
            body(&Called { function, data: context.cast() })
        });
        // No row, which only triggers before a row would mind; NULL would be an error.
        (*fcinfo).isnull = false;
        pg_sys::Datum::null()
    }
}

impl Called {
    fn relation(&self) -> Oid {
        // SAFETY: the server fills the field for the duration of the call.
        unsafe { (*(*self.data).tg_relation).rd_id }
    }

    fn require(&self, allowed: impl Fn(u32) -> bool) -> Result<()> {
        // SAFETY: as above.
        let event = unsafe { (*self.data).tg_event };
        if allowed(event) {
            return Ok(());
        }
        Err(violated(self.function, "it is fired for another event than those of its own triggers"))
    }

    /// The table is one of the extension's own.
    fn require_catalog(&self) -> Result<()> {
        // SAFETY: as above; looks into the system cache.
        let namespace = unsafe { pg_sys::get_rel_namespace(self.relation()) };
        if crate::pg::session::namespace_name(namespace).as_deref() == Some("helios") {
            return Ok(());
        }
        let table = names::displayed_relation_name(self.relation());
        Err(violated(self.function, &format!("table \"{table}\" is none of the extension's own")))
    }
}

fn violated(function: &str, why: &str) -> Error {
    Error::new(
        Code::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
        format!("function helios.{function}() cannot be used here: {why}"),
    )
    .hint("Only the triggers that the extension makes itself use it.")
}

fn is_statement(event: u32) -> bool {
    event & pg_sys::TRIGGER_EVENT_ROW == 0
}

fn is_before_statement(event: u32) -> bool {
    event & pg_sys::TRIGGER_EVENT_TIMINGMASK == pg_sys::TRIGGER_EVENT_BEFORE && is_statement(event)
}

fn is_after_statement(event: u32) -> bool {
    event & pg_sys::TRIGGER_EVENT_TIMINGMASK == 0 && is_statement(event)
}

fn is_after_row(event: u32) -> bool {
    event & pg_sys::TRIGGER_EVENT_TIMINGMASK == 0 && !is_statement(event)
}
