//! Look-up of cursors that are open here, as WHERE CURRENT OF needs it.

use crate::pg::exec::custom_scan::{self, Scan};
use pgrx::pg_sys;
use std::ffi::CString;

/// What a name of a cursor stands for.
pub enum Named<'a, S> {
    /// None is open.
    Nothing,
    /// Something else than a SELECT.
    NoSelect,
    /// Rows that were kept from an earlier transaction.
    Held,
    /// One that PostgreSQL planned here, or that is running.
    Here,
    /// One of a statement on a node.
    OnNode(&'a S),
}

/// Looks up an open cursor.
pub fn find<'a, S: Scan>(name: &str) -> Named<'a, S> {
    let Ok(name) = CString::new(name) else { return Named::Nothing };
    // SAFETY: the portal and what it executes live at least until the statement that names it ends; nobody else uses the scan of
    // a portal that is not running.
    unsafe {
        let portal = pg_sys::GetPortalByName(name.as_ptr());
        if portal.is_null() {
            Named::Nothing
        } else if (*portal).strategy != pg_sys::PortalStrategy::PORTAL_ONE_SELECT {
            Named::NoSelect
        } else if (*portal).queryDesc.is_null() {
            Named::Held
        } else if (*portal).status == pg_sys::PortalStatus::PORTAL_ACTIVE {
            Named::Here
        } else {
            match custom_scan::scan_of::<S>((*(*portal).queryDesc).planstate) {
                Some(scan) => Named::OnNode(&*scan),
                None => Named::Here,
            }
        }
    }
}
