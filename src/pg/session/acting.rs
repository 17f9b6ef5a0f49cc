//! Runs a session as another role for a part of a transaction, in a security context that code inside cannot leave.
//!
//! `SET ROLE` is not sufficient: code run by the session could restore the session's own privileges with `RESET ROLE`.
//! SECURITY_RESTRICTED_OPERATION prevents that, as well as deferred triggers, holdable cursors, and temporary tables,
//! as in index expressions.
//!
//! Invariant: outside of the (sub)transaction in which [`begin`] was called, the session is unchanged. SQL inside
//! functions cannot end that subtransaction.

use crate::error::{Error, Result};
use crate::pg::session;
use pgrx::pg_sys::{self, errcodes::PgSqlErrorCode as Code};
use std::cell::Cell;
use std::ffi::{CString, c_void};
use std::ptr;

/// The session's state before [`begin`], and the nesting level at whose end it is restored.
#[derive(Clone, Copy)]
struct Before {
    user: pg_sys::Oid,
    context: i32,
    level: i32,
}

thread_local!(static BEFORE: Cell<Option<Before>> = const { Cell::new(None) });

/// Registers transaction callbacks. Called once, from `_PG_init`.
pub fn install() {
    // SAFETY: the callbacks live as long as the process.
    unsafe {
        pg_sys::RegisterXactCallback(Some(transaction_event), ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(subtransaction_event), ptr::null_mut());
    }
}

/// OID of the named role.
///
/// Errors: 42704 if it does not exist.
pub fn role_named(name: &str) -> Result<pg_sys::Oid> {
    let unknown =
        || Error::new(Code::ERRCODE_UNDEFINED_OBJECT, format!("role \"{name}\" does not exist"));
    let text = CString::new(name).map_err(|_| unknown())?;
    // SAFETY: the string is NUL-terminated and outlives the call, which does a syscache lookup.
    let role = unsafe { pg_sys::get_role_oid(text.as_ptr(), true) };
    if role == pg_sys::InvalidOid { Err(unknown()) } else { Ok(role) }
}

/// Runs the session as `role` until the end of the current subtransaction, or of the transaction if there is none.
///
/// Errors: 42501 unless the session's user may SET ROLE to it; 0A000 in code that is already confined to a role.
pub fn begin(role: pg_sys::Oid) -> Result<()> {
    let (user, context) = current()?;
    if !may_become(user, role) {
        let name = crate::pg::catalog::privileges::role_name(role);
        return Err(Error::new(
            Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("permission denied to run as role \"{name}\""),
        )
        .detail("Only members of the role may run as it."));
    }
    become_role(user, context, role);
    Ok(())
}

/// Like [`begin`], for a request whose origin the caller has verified: whatever the session's user is.
///
/// Errors: 0A000 in code that is already confined to a role.
pub fn begin_on_request(role: pg_sys::Oid) -> Result<()> {
    let (user, context) = current()?;
    become_role(user, context, role);
    Ok(())
}

/// The current user and security context.
///
/// Errors: 0A000 in code that is already confined to a role.
fn current() -> Result<(pg_sys::Oid, i32)> {
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: reads variables of this backend.
    unsafe { pg_sys::GetUserIdAndSecContext(&mut user, &mut context) };
    if context != 0 {
        return Err(Error::new(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            "cannot set role within security-definer function",
        ));
    }
    Ok((user, context))
}

fn become_role(user: pg_sys::Oid, context: i32, role: pg_sys::Oid) {
    let level = session::nesting_level();
    let flags = pg_sys::SECURITY_LOCAL_USERID_CHANGE
        | pg_sys::SECURITY_RESTRICTED_OPERATION
        | pg_sys::SECURITY_NOFORCE_RLS;
    BEFORE.set(Some(Before { user, context, level }));
    // SAFETY: changes variables of this backend, which are restored at the end of the (sub)transaction.
    unsafe { pg_sys::SetUserIdAndSecContext(role, flags as i32) };
}

fn may_become(user: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    // SAFETY: syscache lookups.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::is_member_of_role(user, role);
        #[cfg(not(any(feature = "pg15")))]
        pg_sys::member_can_set_role(user, role)
    }
}

fn end() {
    if let Some(Before { user, context, .. }) = BEFORE.take() {
        // SAFETY: restores what `begin` saved.
        unsafe { pg_sys::SetUserIdAndSecContext(user, context) }
    }
}

/// On rollback PostgreSQL restores the role itself; when it reports that a transaction is about to be committed or
/// prepared, users' code has already run.
unsafe extern "C-unwind" fn transaction_event(event: pg_sys::XactEvent::Type, _: *mut c_void) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_PRE_COMMIT, XACT_EVENT_PRE_PREPARE};
    match event {
        XACT_EVENT_PRE_COMMIT | XACT_EVENT_PRE_PREPARE => end(),
        XACT_EVENT_ABORT => BEFORE.set(None),
        _ => {}
    }
}

unsafe extern "C-unwind" fn subtransaction_event(
    event: pg_sys::SubXactEvent::Type,
    _sub: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _: *mut c_void,
) {
    use pg_sys::SubXactEvent::{SUBXACT_EVENT_ABORT_SUB, SUBXACT_EVENT_PRE_COMMIT_SUB};
    let Some(before) = BEFORE.get() else { return };
    let level = session::nesting_level();
    match event {
        SUBXACT_EVENT_PRE_COMMIT_SUB if level == before.level => end(),
        // If a nested subtransaction was rolled back, the role stays; if this one was, the server restores the role.
        SUBXACT_EVENT_ABORT_SUB if level <= before.level => BEFORE.set(None),
        _ => {}
    }
}
