//! Portals that stay open between requests for rows: DECLARE CURSOR, OPEN of PL/pgSQL, and portals of the protocol that have a
//! name. Each is a cursor on its node as well, opened at the same moment, so that it sees the same rows, moves as it would
//! there, and WHERE CURRENT OF finds its row.

use crate::pg::exec::nesting;
use crate::pg::exec::plan_fields::{PlanView, is_of_cursor};
use crate::pg::tree::list;
use pgrx::pg_sys;
use std::ffi::c_int;
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
        if !is_of_cursor(options as c_int) && nesting::depth() > 0 {
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
