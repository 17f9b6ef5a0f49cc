//! Trigger functions. Each checks how it is called: direct calls, and events that its own triggers do not have, are
//! errors (39P01).

use crate::error::{Error, Result};
use crate::pg::error::trampoline;
use crate::pg::exec::row_trigger::{self, Fired};
use pgrx::pg_sys::{self, Oid, TriggerData, errcodes::PgSqlErrorCode as Code};
use std::marker::PhantomData;

/// When a trigger fires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Firing {
    /// Before the statement.
    BeforeStatement,
    /// After each row.
    AfterRow,
    /// After the statement.
    AfterStatement,
}

/// A trigger function of the extension.
pub trait TriggerFunction {
    /// Its qualified name, for messages.
    const NAME: &'static str;
    /// When its own triggers fire.
    const FIRINGS: &'static [Firing];
    /// Executes the trigger function.
    fn fired(call: &TriggerCall<'_>) -> Result<()>;
}

/// A call of a trigger function in progress.
pub struct TriggerCall<'call> {
    function: &'static str,
    data: *mut TriggerData,
    lifetime: PhantomData<&'call TriggerData>,
}

/// Runs a trigger function.
///
/// # Safety
/// `fcinfo` is the function manager's, and the caller owns nothing with a destructor.
pub unsafe fn run<T: TriggerFunction>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: by the caller's promise; a call as a trigger has its data as context.
    unsafe {
        trampoline((), || {
            let context = (*fcinfo).context;
            if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
                return Err(violated(T::NAME, "not called as a trigger"));
            }
            let call =
                TriggerCall { function: T::NAME, data: context.cast(), lifetime: PhantomData };
            let is_own = call.firing().is_some_and(|firing| T::FIRINGS.contains(&firing));
            if !is_own {
                return Err(call.misused("fired for an unexpected event"));
            }
            T::fired(&call)
        });
        // No row, which only triggers before a row would mind; NULL would be an error.
        (*fcinfo).isnull = false;
        pg_sys::Datum::null()
    }
}

impl TriggerCall<'_> {
    /// The table of the trigger.
    pub fn relation(&self) -> Oid {
        // SAFETY: the server fills the field for the duration of the call.
        unsafe { (*(*self.data).tg_relation).rd_id }
    }

    /// The command that fired the trigger, with its rows.
    pub fn view(&self) -> Fired {
        // SAFETY: `run` has checked that this is a trigger call.
        unsafe { row_trigger::view(self.data) }.1
    }

    /// The error for a trigger that does not belong to the function.
    pub fn misused(&self, why: &str) -> Error {
        violated(self.function, why)
    }

    fn firing(&self) -> Option<Firing> {
        // SAFETY: as in `relation`.
        let event = unsafe { (*self.data).tg_event };
        let is_row = event & pg_sys::TRIGGER_EVENT_ROW != 0;
        match (event & pg_sys::TRIGGER_EVENT_TIMINGMASK, is_row) {
            (pg_sys::TRIGGER_EVENT_BEFORE, false) => Some(Firing::BeforeStatement),
            (0, false) => Some(Firing::AfterStatement),
            (0, true) => Some(Firing::AfterRow),
            _ => None,
        }
    }
}

fn violated(function: &str, why: &str) -> Error {
    Error::new(
        Code::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
        format!("cannot use function {function}(): {why}"),
    )
    .hint("The function is for triggers created by the extension only.")
}
