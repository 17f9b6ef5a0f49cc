//! The client's settings, to be applied to sessions with nodes. Most statements change no settings; then only a few
//! integers are compared.

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
    /// The role for statements on nodes, if it must be set in the session.
    role: Option<Oid>,
    snapshot: Rc<Snapshot>,
}

thread_local! {
    static FOLLOW: RefCell<Follow> = RefCell::new(Follow {
        scanner: Scanner::new(&FOLLOWED),
        role: None,
        snapshot: Rc::default(),
    });
    /// Incremented whenever the snapshot changes; 0 for no snapshot.
    static EPOCH: Cell<u64> = const { Cell::new(0) };
    static SEEN: Cell<(Oid, Oid, i64)> = const { Cell::new((Oid::INVALID, Oid::INVALID, 0)) };
    static DIRTY: Cell<bool> = const { Cell::new(true) };
    /// Settings changed in this transaction may be reset at its end.
    static TOUCHED: Cell<bool> = const { Cell::new(false) };
}

/// Records that a setting may have changed: after SET, RESET, DISCARD, set_config().
pub fn note_change() {
    DIRTY.set(true);
    TOUCHED.set(true);
}

/// Records the end of a transaction or subtransaction, at which settings may have been reset.
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

/// Compares all settings. A function may have a SET clause: then they must be compared again at its end.
#[cold]
fn look(now: (Oid, Oid, i64), nested: bool) {
    let users = |(session, user, _): (Oid, Oid, i64)| (session, user);
    let changed = FOLLOW.with_borrow_mut(|follow| {
        // SET ROLE to the session's own user shows in the setting `role`, too.
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

/// The settings for [`epoch`].
pub fn snapshot() -> Rc<Snapshot> {
    FOLLOW.with_borrow(|follow| Rc::clone(&follow.snapshot))
}
