//! The local transaction: its state, its properties, and the transaction callbacks.

use crate::error::Result;
use crate::pg::error::trampoline;
use crate::pg::session::backend_state;
use pgrx::pg_sys;
use std::cell::RefCell;

/// What happens to the local transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// About to commit: errors are still possible, and abort it.
    PreCommit,
    /// Committed; nothing may fail any more.
    Commit,
    /// Rolled back; nothing may fail any more.
    Abort,
    /// About to be left prepared by PREPARE TRANSACTION: errors are still possible.
    PrePrepare,
    /// Left prepared here; nothing may fail any more.
    Prepare,
    /// The subtransaction at this nesting level is committed into its parent; nothing may fail.
    SubCommit(u32),
    /// The subtransaction at this nesting level is rolled back; nothing may fail.
    SubAbort(u32),
}

impl Event {
    /// Nesting level from which on nothing noted of the transaction counts any more: 0 where the transaction has ended.
    pub fn ended_level(self) -> Option<u32> {
        match self {
            Self::Commit | Self::Abort | Self::Prepare => Some(0),
            Self::SubAbort(level) => Some(level),
            Self::PreCommit | Self::PrePrepare | Self::SubCommit(_) => None,
        }
    }
}

/// What the extension does when the local transaction commits or rolls back.
pub trait TransactionHooks {
    /// Called with every event. An error is raised where one is possible, and shown as a warning elsewhere.
    fn transaction(event: Event) -> Result<()>;
    /// Called behind [`Self::transaction`], whatever became of that where errors are warnings.
    fn after_transaction(event: Event) -> Result<()>;
}

/// Registers the callbacks; once, when the library is loaded.
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

/// What of the local transaction's writes is undone again.
#[derive(Default)]
struct Undone {
    /// For each open subtransaction, outermost first: whether nothing was written here when it began.
    clean: Vec<bool>,
    /// Where this process had written in the log when all that it had written was undone.
    end: Option<pg_sys::XLogRecPtr>,
}

thread_local!(static UNDONE: RefCell<Undone> = RefCell::default());

/// Follows subtransactions, so that [`wrote_here`] knows what they took back.
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

/// Behind the last record that this process has written to the log in this transaction.
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
    // SAFETY: the caller's word.
    unsafe {
        call(event, H::transaction);
        call(event, H::after_transaction);
    }
}

/// # Safety
/// As [`dispatch`].
unsafe fn call(event: Event, hook: fn(Event) -> Result<()>) {
    if matches!(event, Event::PreCommit | Event::PrePrepare) {
        // SAFETY: the caller's word; errors are allowed at these moments.
        return unsafe { trampoline((), || hook(event)) };
    }
    // An error that left this callback would take the backend down (or the server, in a commit): whatever is
    // raised ends here. What was left undone is the business of the recovery worker.
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

/// When the transaction began, in microseconds since 2000.
pub fn began_at() -> i64 {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::GetCurrentTransactionStartTimestamp() }
}

/// Whether all statements of the transaction see what was committed when it began (REPEATABLE READ, SERIALIZABLE).
pub fn has_one_snapshot() -> bool {
    // SAFETY: reads a static.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// Nesting level of the current (sub)transaction: 1 is the transaction itself.
#[inline]
pub fn nest_level() -> u32 {
    u32::try_from(backend_state::GetCurrentTransactionNestLevel()).unwrap_or(0)
}

/// Whether the transaction has written something here that it has not undone.
///
/// With its first write it gets an id. It keeps that when a savepoint takes the write back; what it writes then shows
/// in the log. What is not logged (temporary and unlogged tables) does not survive a crash, and nothing but a crash
/// can come between the decision to commit and the local commit.
pub fn wrote_here() -> bool {
    let has_id = backend_state::GetTopTransactionIdIfAny() != pg_sys::InvalidTransactionId;
    has_id && UNDONE.with_borrow(|undone| undone.end != Some(log_end()))
}

/// Id of the transaction; it gets one if it had none.
pub fn id() -> u32 {
    // SAFETY: called inside a transaction, as everything here is.
    unsafe { pg_sys::GetTopFullTransactionId() }.value as u32
}

/// Whether the transaction has properties that BEGIN alone gives to one on a node: its isolation level, READ ONLY or
/// DEFERRABLE are not those of the session's settings, which nodes follow.
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

/// Whether the transaction is SERIALIZABLE READ ONLY DEFERRABLE: without the others DEFERRABLE means nothing.
pub fn is_deferrable() -> bool {
    // SAFETY: reads statics.
    is_serializable() && is_read_only() && unsafe { pg_sys::XactDeferrable }
}

/// Makes the check that a commit makes last, before anything is committed elsewhere: a SERIALIZABLE transaction that
/// passes is safe from being chosen as another one's victim. Raises 40001.
pub fn check_serialization() {
    unsafe extern "C-unwind" {
        // Not among the bindings of pgrx.
        fn PreCommit_CheckForSerializationFailure();
    }
    // SAFETY: called at pre-commit, as the server itself does a moment later; a second call repeats the first. What
    // it raises becomes a panic at the boundary.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| PreCommit_CheckForSerializationFailure()) }
}

/// Lets the coming local commit reach the disk before anybody is told of it, whatever `synchronous_commit` says:
/// once a node has committed its part, this server must not forget its own.
pub fn force_durable_commit() {
    // SAFETY: sets a flag of the current transaction.
    unsafe { pg_sys::ForceSyncCommit() }
}

/// Whether statements of this transaction may only read.
#[inline]
pub fn is_read_only() -> bool {
    // SAFETY: reads a static.
    unsafe { pg_sys::XactReadOnly }
}

/// The BEGIN that begins a transaction with the current one's properties.
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

/// OIDs of the role that a session to a node has to log in as, and of the one it has to run as.
///
/// The first is the session's user, except where this server would refuse SET ROLE and RESET ROLE: in functions that
/// run as their owner and in restricted operations (index functions under ANALYZE, …). A session of the
/// session's user would let the code that runs there take that user's rights back with RESET ROLE.
///
/// A session's user who may not log in can only have been set by a superuser, whose own session is used: its code can
/// go back to that superuser here as well.
#[inline]
pub fn users() -> (pg_sys::Oid, pg_sys::Oid) {
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    backend_state::GetUserIdAndSecContext(&mut user, &mut context);
    let bound = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
    let is_bound = context as u32 & bound != 0;
    (if is_bound { user } else { session_login() }, user)
}

/// The role that SET ROLE has set, if any.
pub fn set_role() -> Option<pg_sys::Oid> {
    // SAFETY: reads a static.
    let role = unsafe { pg_sys::GetCurrentRoleId() };
    (role != pg_sys::InvalidOid).then_some(role)
}

/// Whether a session to a node logs in as somebody else than the client did: there `session_user` is not what it is here.
/// What runs in restricted operations (functions of indexes) is declared not to depend on it.
pub fn has_other_session_user() -> bool {
    users().0 != backend_state::GetSessionUserId()
        && !backend_state::InSecurityRestrictedOperation()
}

/// The session's user, or who set it if it may not log in.
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
