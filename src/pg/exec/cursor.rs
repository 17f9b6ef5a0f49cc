//! Portals that stay open between requests for rows: DECLARE CURSOR, OPEN of PL/pgSQL, and portals of the protocol that have a
//! name. Each is a cursor of the same name on its node, opened at the same moment, so that it sees the same rows, moves as
//! it would there, and WHERE CURRENT OF finds its row.

use crate::pg::exec::nesting;
use crate::pg::exec::remote_plan::PlanView;
use crate::pg::tree::list;
use pgrx::pg_sys;
use pgrx::spi::quote_identifier;
use std::ffi::{CStr, c_int};
use std::ptr;

/// A cursor that is being opened.
#[derive(Debug, Clone)]
pub struct Cursor {
    /// Its name, quoted for SQL.
    pub name: String,
    /// Its direction as in DECLARE: SCROLL, NO SCROLL or nothing.
    pub direction: &'static str,
}

impl Cursor {
    /// The beginning of the statement that declares it, before its query.
    pub fn declaration(&self) -> String {
        format!("DECLARE {} {} CURSOR FOR ", self.name, self.direction)
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
        let name = CStr::from_ptr((*portal).name).to_str().ok().filter(|name| !name.is_empty())?;
        let options = plan.cursor_options();
        // Loops of PL/pgSQL have portals, too, and fetch from them at once.
        if !is_moved_on_node(options as c_int) && nesting::depth() > 0 {
            return None;
        }
        let direction = if options & pg_sys::CURSOR_OPT_NO_SCROLL != 0 {
            "NO SCROLL"
        } else if options & (pg_sys::CURSOR_OPT_SCROLL | pg_sys::CURSOR_OPT_HOLD) != 0 {
            // One with HOLD is read again from its beginning when the transaction commits.
            "SCROLL"
        } else {
            ""
        };
        Some(Cursor { name: quote_identifier(name), direction })
    }
}
