//! Portals that stay open between requests for rows: DECLARE CURSOR, OPEN of PL/pgSQL, and portals of the protocol that have a
//! name. Each is a cursor on its node as well, opened at the same moment, so that it sees the same rows, moves as it would
//! there, and WHERE CURRENT OF finds its row.

use crate::pg::exec::custom_scan::{self, Scan};
use crate::pg::exec::nesting;
use crate::pg::exec::remote_plan::PlanView;
use crate::pg::tree::list;
use pgrx::pg_sys;
use std::ffi::{CString, c_int};
use std::ptr;

/// A cursor that is being opened.
#[derive(Debug, Clone)]
pub struct Cursor {
    /// Its direction as in DECLARE: SCROLL, NO SCROLL or nothing.
    pub direction: &'static str,
    portal: pg_sys::Portal,
}

impl Cursor {
    /// Says that it moves only forward, as its plan on the node does; what was asked for is known by now.
    pub fn moves_forward(&self) {
        // SAFETY: the portal is being started.
        unsafe {
            let options = (*self.portal).cursorOptions as u32 & !pg_sys::CURSOR_OPT_SCROLL;
            (*self.portal).cursorOptions = (options | pg_sys::CURSOR_OPT_NO_SCROLL) as c_int;
        }
    }
}

/// What a name of a cursor stands for.
pub enum Named<'a, S> {
    /// None is open.
    Nothing,
    /// Something else than a SELECT.
    NoSelect,
    /// Rows that were kept from an earlier transaction.
    Held,
    /// One that PostgreSQL planned here.
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
        } else {
            match custom_scan::scan_of::<S>((*(*portal).queryDesc).planstate) {
                Some(scan) => Named::OnNode(&*scan),
                None => Named::Here,
            }
        }
    }
}

/// Whether a query that is planned with these options is that of a cursor, which is declared on its node.
pub(in crate::pg) fn is_moved_on_node(options: c_int) -> bool {
    options as u32 & pg_sys::CURSOR_OPT_FAST_PLAN != 0
}

/// The cursor that is opened by the execution that has just started, if it is one: its plan is that of a node's statement.
///
/// # Safety
/// `desc` is valid.
pub(in crate::pg) unsafe fn opened_by(
    desc: *mut pg_sys::QueryDesc,
    plan: &PlanView<'_>,
) -> Option<Cursor> {
    // SAFETY: by the caller's promise. While a portal is started, it has its name and its statements.
    unsafe {
        let portal = pg_sys::ActivePortal;
        if portal.is_null()
            || (*portal).status != pg_sys::PortalStatus::PORTAL_DEFINED
            || (*portal).strategy != pg_sys::PortalStrategy::PORTAL_ONE_SELECT
            || !ptr::eq(list::nth((*portal).stmts, 0), (*desc).plannedstmt)
        {
            return None;
        }
        if *(*portal).name == 0 {
            return None;
        }
        let options = plan.cursor_options();
        // Loops of PL/pgSQL have portals, too, and fetch from them at once.
        if !is_moved_on_node(options as c_int) && nesting::depth() > 0 {
            return None;
        }
        let direction = if options & pg_sys::CURSOR_OPT_NO_SCROLL != 0 {
            "NO SCROLL"
        } else if options & pg_sys::CURSOR_OPT_SCROLL != 0 {
            "SCROLL"
        } else {
            ""
        };
        Some(Cursor { direction, portal })
    }
}
