//! The client's settings as nodes should have them. Most statements change nothing: then a few integers
//! are compared, and nothing else.

use crate::pg::catalog::privileges;
use crate::pg::exec::nesting;
use crate::pg::session::settings_scan::{Scanner, reload_time};
use crate::pg::session::xact;
use crate::remote::followed_settings::FOLLOWED;
use crate::remote::settings::Snapshot;
use pgrx::pg_sys::Oid;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

struct Follow {
    scanner: Scanner,
    /// The role that statements on nodes run as, if the session there has to be told.
    role: Option<Oid>,
    snapshot: Rc<Snapshot>,
}

thread_local! {
    static FOLLOW: RefCell<Follow> = RefCell::new(Follow {
        scanner: Scanner::new(&FOLLOWED),
        role: None,
        snapshot: Rc::default(),
    });
    /// Grows whenever the snapshot changes; 0 is no snapshot.
    static EPOCH: Cell<u64> = const { Cell::new(0) };
    static SEEN: Cell<(Oid, Oid, i64)> = const { Cell::new((Oid::INVALID, Oid::INVALID, 0)) };
    static DIRTY: Cell<bool> = const { Cell::new(true) };
    /// Settings changed in this transaction may go back at its end.
    static TOUCHED: Cell<bool> = const { Cell::new(false) };
}

/// A setting may have changed: after SET, RESET, DISCARD, set_config().
pub fn note_change() {
    DIRTY.set(true);
    TOUCHED.set(true);
}

/// A transaction or subtransaction has ended: what was set inside may have gone back.
pub fn transaction_ended(top: bool) {
    if TOUCHED.get() {
        DIRTY.set(true);
        TOUCHED.set(!top);
    }
}

/// Number of the current settings: equal numbers mean equal settings.
#[inline]
pub fn epoch() -> u64 {
    let (session, user) = xact::users();
    let now = (session, user, reload_time());
    let nested = nesting::is_nested();
    if nested || DIRTY.get() || SEEN.get() != now {
        look(now, nested);
    }
    EPOCH.get()
}

/// Compares in full. A function may have settings of its own: when it has, they must be looked at again once
/// it has ended.
#[cold]
fn look(now: (Oid, Oid, i64), nested: bool) {
    let users = |(session, user, _): (Oid, Oid, i64)| (session, user);
    let changed = FOLLOW.with_borrow_mut(|follow| {
        // SET ROLE to the session's own user shows as well, in the setting `role`.
        let role = (now.0 != now.1 || xact::set_role() == Some(now.1)).then_some(now.1);
        let changed = follow.scanner.look()
            || follow.role != role
            || users(SEEN.get()) != users(now)
            || EPOCH.get() == 0;
        if changed {
            follow.role = role;
            let role = role.map(|role| privileges::role_name(role).into_bytes());
            let settings = follow.scanner.settings();
            let beyond_reach = follow.scanner.beyond_reach();
            follow.snapshot = Rc::new(Snapshot { settings, role, beyond_reach });
            EPOCH.set(EPOCH.get() + 1);
        }
        changed
    });
    SEEN.set(now);
    DIRTY.set(nested && changed);
    if nested && changed {
        TOUCHED.set(true);
    }
}

/// The settings of [`epoch`].
pub fn snapshot() -> Rc<Snapshot> {
    FOLLOW.with_borrow(|follow| Rc::clone(&follow.snapshot))
}
