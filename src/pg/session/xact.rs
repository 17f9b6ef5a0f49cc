//! The local transaction: its state, its properties, and transaction callbacks.

use crate::error::Result;
use crate::pg::error::trampoline;
use crate::pg::session::backend_state;
use pgrx::pg_sys;
use std::cell::RefCell;

/// Events of the local transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// About to commit: errors are still possible, and abort the transaction.
    PreCommit,
    /// Committed; no errors may be raised.
    Commit,
    /// Rolled back; no errors may be raised.
    Abort,
    /// About to be prepared by PREPARE TRANSACTION: errors are still possible.
    PrePrepare,
    /// Prepared; no errors may be raised.
    Prepare,
    /// The subtransaction at this nesting level was committed to its parent; no errors may be raised.
    SubCommit(u32),
    /// The subtransaction at this nesting level was rolled back; no errors may be raised.
    SubAbort(u32),
}

impl Event {
    /// Nesting level from which on the recorded state of the transaction is obsolete: 0 at its end.
    pub fn ended_level(self) -> Option<u32> {
        match self {
            Self::Commit | Self::Abort | Self::Prepare => Some(0),
            Self::SubAbort(level) => Some(level),
            Self::PreCommit | Self::PrePrepare | Self::SubCommit(_) => None,
        }
    }
}

/// The extension's transaction callbacks.
pub trait TransactionHooks {
    /// Called for every event. An error is raised where that is possible, and reported as a warning otherwise.
    fn transaction(event: Event) -> Result<()>;
    /// Called after [`Self::transaction`], even if that failed with a warning.
    fn after_transaction(event: Event) -> Result<()>;
}

/// Registers the callbacks; called once, when the library is loaded.
pub(in crate::pg) fn install<H: TransactionHooks>() {
    // SAFETY: the callbacks live as long as the process.
    unsafe {
        pg_sys::RegisterXactCallback(Some(transaction_event::<H>), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(subtransaction_event::<H>), std::ptr::null_mut());
    }
}

unsafe extern "C-unwind" fn transaction_event<H: TransactionHooks>(
    event: pg_sys::XactEvent::Type,
    _: *mut std::ffi::c_void,
) {
    if matches!(
        event,
        pg_sys::XactEvent::XACT_EVENT_COMMIT
            | pg_sys::XactEvent::XACT_EVENT_ABORT
            | pg_sys::XactEvent::XACT_EVENT_PREPARE
    ) {
        UNDONE.take();
    }
    let event = match event {
        pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT => Event::PreCommit,
        pg_sys::XactEvent::XACT_EVENT_COMMIT => Event::Commit,
        pg_sys::XactEvent::XACT_EVENT_ABORT => Event::Abort,
        pg_sys::XactEvent::XACT_EVENT_PRE_PREPARE => Event::PrePrepare,
        pg_sys::XactEvent::XACT_EVENT_PREPARE => Event::Prepare,
        _ => return,
    };
    // SAFETY: this frame owns nothing.
    unsafe { dispatch::<H>(event) }
}

/// Which of the local transaction's writes have been undone.
#[derive(Default)]
struct Undone {
    /// For each open subtransaction, outermost first: whether nothing had been written here when it began.
    clean: Vec<bool>,
    /// WAL position of this process when everything that it had written was undone.
    end: Option<pg_sys::XLogRecPtr>,
}

thread_local!(static UNDONE: RefCell<Undone> = RefCell::default());

/// Tracks subtransactions for [`wrote_here`].
fn follow_undone(event: pg_sys::SubXactEvent::Type) {
    match event {
        pg_sys::SubXactEvent::SUBXACT_EVENT_START_SUB => {
            let clean = !wrote_here();
            UNDONE.with_borrow_mut(|undone| undone.clean.push(clean));
        }
        pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => {
            UNDONE.with_borrow_mut(|undone| undone.clean.pop());
        }
        pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => UNDONE.with_borrow_mut(|undone| {
            if undone.clean.pop() == Some(true) {
                undone.end = Some(log_end());
            }
        }),
        _ => {}
    }
}

/// End of the last WAL record that this process has written in this transaction.
fn log_end() -> pg_sys::XLogRecPtr {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::XactLastRecEnd }
}

unsafe extern "C-unwind" fn subtransaction_event<H: TransactionHooks>(
    event: pg_sys::SubXactEvent::Type,
    _sub: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _: *mut std::ffi::c_void,
) {
    follow_undone(event);
    let event = match event {
        pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => Event::SubCommit(nest_level()),
        pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => Event::SubAbort(nest_level()),
        _ => return,
    };
    // SAFETY: this frame owns nothing.
    unsafe { dispatch::<H>(event) }
}

/// # Safety
/// Only from a callback's frame that owns nothing.
unsafe fn dispatch<H: TransactionHooks>(event: Event) {
    // SAFETY: by the caller's promise.
    unsafe {
        call(event, H::transaction);
        call(event, H::after_transaction);
    }
}

/// # Safety
/// As [`dispatch`].
unsafe fn call(event: Event, hook: fn(Event) -> Result<()>) {
    if matches!(event, Event::PreCommit | Event::PrePrepare) {
        // SAFETY: by the caller's promise; errors are allowed at these moments.
        return unsafe { trampoline((), || hook(event)) };
    }
    // An error that left this callback would terminate the backend (or the server, in a commit), so it ends here.
    // Unfinished work is left to the recovery worker.
    let failed = pgrx::PgTryBuilder::new(|| hook(event))
        .catch_others(|cause| Err(internal(&format!("{cause:?}"))))
        .catch_rust_panic(|cause| Err(internal(&format!("{cause:?}"))))
        .execute();
    if let Err(error) = failed {
        crate::pg::error::notify(pgrx::PgLogLevel::WARNING, &error);
    }
}

fn internal(cause: &str) -> crate::error::Error {
    crate::error::Error::new(
        pg_sys::errcodes::PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        "could not finish the transaction on its nodes",
    )
    .detail(cause)
}

/// Start of the transaction in microseconds since 2000.
pub fn began_at() -> i64 {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::GetCurrentTransactionStartTimestamp() }
}

/// Whether all statements of the transaction use one snapshot (REPEATABLE READ, SERIALIZABLE).
pub fn has_one_snapshot() -> bool {
    // SAFETY: reads a static.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// Nesting level of the current (sub)transaction: 1 is the transaction itself.
#[inline]
pub fn nest_level() -> u32 {
    u32::try_from(backend_state::GetCurrentTransactionNestLevel()).unwrap_or(0)
}

/// Whether the transaction has written something here that has not been undone.
///
/// Its first write assigns a transaction ID. The ID remains when a rollback to a savepoint undoes the write; later
/// writes show in the WAL. Writes without WAL (temporary and unlogged tables) do not survive a crash, and only a crash
/// can come between the decision to commit and the local commit.
pub fn wrote_here() -> bool {
    let has_id = backend_state::GetTopTransactionIdIfAny() != pg_sys::InvalidTransactionId;
    has_id && UNDONE.with_borrow(|undone| undone.end != Some(log_end()))
}

/// ID of the transaction, which is assigned if necessary.
pub fn id() -> u32 {
    // SAFETY: called inside a transaction, as everything here is.
    unsafe { pg_sys::GetTopFullTransactionId() }.value as u32
}

/// Whether the transaction has properties that a plain BEGIN on a node would not have: its isolation level, READ ONLY
/// or DEFERRABLE differ from the session's settings, which are applied on nodes.
#[inline]
pub fn has_own_properties() -> bool {
    // SAFETY: reads statics.
    unsafe {
        pg_sys::XactIsoLevel != pg_sys::DefaultXactIsoLevel
            || pg_sys::XactReadOnly != pg_sys::DefaultXactReadOnly
            || pg_sys::XactDeferrable != pg_sys::DefaultXactDeferrable
    }
}

/// Whether the transaction is SERIALIZABLE.
pub fn is_serializable() -> bool {
    // SAFETY: reads a static.
    (unsafe { pg_sys::XactIsoLevel }) as u32 == pg_sys::XACT_SERIALIZABLE
}

/// Whether the transaction is SERIALIZABLE READ ONLY DEFERRABLE: otherwise DEFERRABLE has no effect.
pub fn is_deferrable() -> bool {
    // SAFETY: reads statics.
    is_serializable() && is_read_only() && unsafe { pg_sys::XactDeferrable }
}

/// Performs the final serialization check of a commit before anything is committed elsewhere: a SERIALIZABLE
/// transaction that passes cannot be chosen as a victim anymore. Raises 40001.
pub fn check_serialization() {
    unsafe extern "C-unwind" {
        // Missing in pgrx's bindings.
        fn PreCommit_CheckForSerializationFailure();
    }
    // SAFETY: called at pre-commit, as the server itself does a moment later; a second call repeats the first. What
    // it raises becomes a panic at the boundary.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| PreCommit_CheckForSerializationFailure()) }
}

/// Makes the pending local commit durable before it is acknowledged, regardless of `synchronous_commit`: once a node has
/// committed its part, this server must not lose its own.
pub fn force_durable_commit() {
    // SAFETY: sets a flag of the current transaction.
    unsafe { pg_sys::ForceSyncCommit() }
}

/// Whether the transaction is read-only.
#[inline]
pub fn is_read_only() -> bool {
    // SAFETY: reads a static.
    unsafe { pg_sys::XactReadOnly }
}

/// The BEGIN command for a transaction with the same properties.
pub fn begin_command() -> String {
    // SAFETY: reads statics.
    let (isolation, read_only, deferrable) =
        unsafe { (pg_sys::XactIsoLevel, pg_sys::XactReadOnly, pg_sys::XactDeferrable) };
    let isolation = match isolation as u32 {
        pg_sys::XACT_SERIALIZABLE => "SERIALIZABLE",
        pg_sys::XACT_REPEATABLE_READ => "REPEATABLE READ",
        pg_sys::XACT_READ_UNCOMMITTED => "READ UNCOMMITTED",
        _ => "READ COMMITTED",
    };
    let access = if read_only { "READ ONLY" } else { "READ WRITE" };
    let deferrable = if deferrable { ", DEFERRABLE" } else { "" };
    format!("BEGIN ISOLATION LEVEL {isolation}, {access}{deferrable}")
}

/// OIDs of the role as which a session with a node must log in, and of the role as which it must run.
///
/// The first is the session's user, except where this server would reject SET ROLE and RESET ROLE: in SECURITY DEFINER
/// functions and restricted operations (index functions under ANALYZE, …). In a session of the session's user, code
/// could restore that user's privileges with RESET ROLE.
///
/// A session's user without LOGIN can only have been set by a superuser, whose own session is used: code can switch
/// back to that superuser here as well.
#[inline]
pub fn users() -> (pg_sys::Oid, pg_sys::Oid) {
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    backend_state::GetUserIdAndSecContext(&mut user, &mut context);
    let bound = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
    let is_bound = context as u32 & bound != 0;
    (if is_bound { user } else { session_login() }, user)
}

/// The role set by SET ROLE, if any.
pub fn set_role() -> Option<pg_sys::Oid> {
    // SAFETY: reads a static.
    let role = unsafe { pg_sys::GetCurrentRoleId() };
    (role != pg_sys::InvalidOid).then_some(role)
}

/// Whether a session with a node logs in as another role than the client, so that `session_user` differs there. Code in
/// restricted operations (index functions) is declared not to depend on it.
pub fn has_other_session_user() -> bool {
    users().0 != backend_state::GetSessionUserId()
        && !backend_state::InSecurityRestrictedOperation()
}

/// The session user, or the authenticated user if the session user lacks LOGIN.
fn session_login() -> pg_sys::Oid {
    let (session, authenticated) =
        (backend_state::GetSessionUserId(), backend_state::GetAuthenticatedUserId());
    if session == authenticated {
        return session;
    }
    // SAFETY: the tuple is released after its one field was read.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::AUTHOID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(session));
        if tuple.is_null() {
            return session;
        }
        let may = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_authid>()).rolcanlogin;
        pg_sys::ReleaseSysCache(tuple);
        if may { session } else { authenticated }
    }
}
