//! The fields of a plan for a node, as they are stored in the plan tree: a list that PostgreSQL can copy.

use crate::pg::exec::result_columns::ResultColumns;
use crate::pg::tree::cursor_name::CursorName;
use crate::pg::tree::list;
use crate::pg::tree::shipment::LocalStatement;
use pgrx::pg_sys::{self, Oid};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr;

unsafe extern "C-unwind" {
    // Called many times per plan, so a single guard protects the whole plan.
    fn pnstrdup(text: *const c_char, length: usize) -> *mut c_char;
    fn lappend(list: *mut pg_sys::List, member: *mut c_void) -> *mut pg_sys::List;
    fn lappend_int(list: *mut pg_sys::List, member: c_int) -> *mut pg_sys::List;
    fn lappend_oid(list: *mut pg_sys::List, member: Oid) -> *mut pg_sys::List;
    fn makeString(text: *mut c_char) -> *mut pg_sys::String;
}

/// Contents of a remote plan.
#[derive(Debug, Clone)]
pub struct RemotePlan {
    /// Text to be sent, in the database's encoding.
    pub sql: Vec<u8>,
    /// If the text is the client's own: number of characters that precede the statement in its source, by which error
    /// positions are shifted. `None` for deparsed text.
    pub offset: Option<i32>,
    /// Number of parameters to which the text may refer.
    pub params: i32,
    /// Whether it changes data or locks rows.
    pub writes: bool,
    /// Whether it calls functions that may change session settings on the node.
    pub unsettles: bool,
    /// The cursor of `WHERE CURRENT OF`, for whose name [`PLACE`] stands in the text.
    ///
    /// [`PLACE`]: crate::pg::tree::cursor_name::PLACE
    pub cursor: Option<CursorName>,
    /// Namespaces of all remote objects that it touches.
    pub namespaces: Vec<Oid>,
    /// Statements to run here, whose rows are sent to the node first: the text refers to each by one more parameter, a bigint.
    pub sources: Vec<LocalStatement>,
    /// The text of a COPY that takes the rows of the only source, in binary form, and does the same; empty if there is none.
    pub copy: Vec<u8>,
}

/// The fields of a [`RemotePlan`] as stored in a plan tree.
#[derive(Clone, Copy)]
pub struct PlanView<'a> {
    private: *mut pg_sys::List,
    plan: PhantomData<&'a pg_sys::CustomScan>,
}

/// A [`LocalStatement`] as stored in a plan tree.
#[derive(Clone, Copy, Debug)]
pub struct LocalStatementView<'a> {
    /// See [`LocalStatement::sql`].
    pub sql: &'a [u8],
    /// See [`LocalStatement::writes`].
    pub writes: bool,
    types: *mut pg_sys::List,
    plan: PhantomData<&'a pg_sys::CustomScan>,
}

impl<'a> LocalStatementView<'a> {
    /// One that changes rows, whose columns the caller checks.
    pub(in crate::pg) fn of_change(sql: &'a [u8]) -> Self {
        Self { sql, writes: true, types: ptr::null_mut(), plan: PhantomData }
    }

    /// See [`LocalStatement::types`].
    pub(in crate::pg) fn types(&self) -> Vec<Oid> {
        // SAFETY: null or a list of OIDs that lives as long as the plan.
        unsafe { list::oids(self.types).collect() }
    }
}

/// Whether a query that is planned with these options is that of a cursor, which is declared on its node.
pub(super) fn is_of_cursor(options: c_int) -> bool {
    options as u32 & pg_sys::CURSOR_OPT_FAST_PLAN != 0
}

/// Stands for no [`RemotePlan::offset`].
const NO_OFFSET: c_int = -1;
/// Stands for no [`RemotePlan::cursor`].
const NO_CURSOR: c_int = -1;

/// # Safety
/// Errors of the server's leave this without an unwinding: only behind a guard.
pub(super) unsafe fn private(
    plan: &RemotePlan,
    columns: ResultColumns,
    cursor_options: c_int,
) -> *mut pg_sys::List {
    // SAFETY: list building in the current memory context; the text is copied with its length.
    unsafe {
        let sql = pnstrdup(plan.sql.as_ptr().cast(), plan.sql.len());
        let (cursor_name, cursor_param) = match &plan.cursor {
            Some(CursorName::Name(name)) => (name.as_str(), 0),
            Some(CursorName::Param(number)) => ("", *number),
            None => ("", NO_CURSOR),
        };
        let mut numbers: *mut pg_sys::List = ptr::null_mut();
        for n in [
            plan.offset.unwrap_or(NO_OFFSET),
            plan.params,
            c_int::from(plan.writes),
            c_int::from(plan.unsettles),
            (columns.described >> 32) as c_int,
            columns.described as c_int,
            (columns.own_types >> 32) as c_int,
            columns.own_types as c_int,
            cursor_options,
            cursor_param,
        ] {
            numbers = lappend_int(numbers, n);
        }
        let mut namespaces: *mut pg_sys::List = ptr::null_mut();
        for &namespace in &plan.namespaces {
            namespaces = lappend_oid(namespaces, namespace);
        }
        let mut list = lappend(ptr::null_mut(), makeString(sql).cast());
        list = lappend(list, numbers.cast());
        list = lappend(list, namespaces.cast());
        list =
            lappend(list, makeString(pnstrdup(plan.copy.as_ptr().cast(), plan.copy.len())).cast());
        let cursor_name = pnstrdup(cursor_name.as_ptr().cast(), cursor_name.len());
        list = lappend(list, makeString(cursor_name).cast());
        for source in &plan.sources {
            let sql = pnstrdup(source.sql.as_ptr().cast(), source.sql.len());
            list = lappend(list, makeString(sql).cast());
            numbers = lappend_int(numbers, c_int::from(source.writes));
            let mut types: *mut pg_sys::List = ptr::null_mut();
            for &of_type in &source.types {
                types = lappend_oid(types, of_type);
            }
            list = lappend(list, types.cast());
        }
        list
    }
}

/// Numbers of the fields of a plan, behind which come those of its sources; of a part, which has none, those of its own.
const FIXED: usize = 10;
/// Members of the list of a plan that come before its sources.
const BEFORE_SOURCES: usize = 5;
const KEEPS_ROWS: usize = FIXED;
const RUNS_FIRST: usize = FIXED + 1;

/// The same for a part of a plan, which does not keep its rows, and is run when its turn comes.
///
/// # Safety
/// In the planner's memory context.
pub(in crate::pg) unsafe fn private_of_part(
    plan: &RemotePlan,
    columns: ResultColumns,
) -> *mut pg_sys::List {
    // SAFETY: what is called in here owns nothing that an error would have to drop; the second member is a list of
    // integers.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            let private = private(plan, columns, 0);
            for _ in [KEEPS_ROWS, RUNS_FIRST] {
                lappend_int(list::nth(private, 1), 0);
            }
            private
        })
    }
}

/// Lets a part keep its rows while they come, because they may be needed again.
///
/// # Safety
/// `part` was made with [`private_of_part`], and nobody else uses it yet.
pub(in crate::pg) unsafe fn keep_rows(part: *mut pg_sys::CustomScan) {
    // SAFETY: by the caller's promise.
    unsafe { set_number(part, KEEPS_ROWS) }
}

/// Makes a part one whose text is a statement that changes rows: it runs here, once, before the plan gives its first row.
///
/// # Safety
/// As for [`keep_rows`].
pub(in crate::pg) unsafe fn run_first(part: *mut pg_sys::CustomScan) {
    // SAFETY: by the caller's promise.
    unsafe {
        set_number(part, RUNS_FIRST);
        set_number(part, KEEPS_ROWS);
    }
}

unsafe fn set_number(part: *mut pg_sys::CustomScan, index: usize) {
    // SAFETY: by the caller's promise that `private_of_part` made its list.
    unsafe {
        let numbers = list::nth::<pg_sys::List>((*part).custom_private, 1);
        (*(*numbers).elements.add(index)).int_value = 1;
    }
}

impl<'a> PlanView<'a> {
    /// A view of a plan that was made of [`RemotePlan`].
    ///
    /// # Safety
    /// `scan` is a custom scan with a list of [`private`]'s (or a copy of it) that outlives `'a`.
    pub(in crate::pg) unsafe fn new(scan: *mut pg_sys::CustomScan) -> Self {
        // SAFETY: by the caller's promise.
        Self { private: unsafe { (*scan).custom_private }, plan: PhantomData }
    }

    fn number(&self, index: usize) -> c_int {
        // SAFETY: `private` was made by `private()`.
        unsafe { list::nth_int(list::nth(self.private, 1), index) }
    }

    fn long_number(&self, index: usize) -> u64 {
        let half = |index| u64::from(self.number(index) as u32);
        half(index) << 32 | half(index + 1)
    }

    /// Text to be sent.
    pub fn sql(&self) -> &'a [u8] {
        // SAFETY: the text lives as long as the plan.
        unsafe { CStr::from_ptr(self.sql_pointer()).to_bytes() }
    }

    /// The text as a NUL-terminated string.
    pub(in crate::pg) fn sql_pointer(&self) -> *const c_char {
        // SAFETY: the first member is a String.
        unsafe { (*list::nth::<pg_sys::String>(self.private, 0)).sval }
    }

    /// See [`RemotePlan::offset`].
    pub fn offset(&self) -> Option<i32> {
        Some(self.number(0)).filter(|&n| n != NO_OFFSET)
    }

    /// See [`RemotePlan::params`].
    pub fn params(&self) -> i32 {
        self.number(1)
    }

    /// See [`RemotePlan::writes`].
    pub fn writes(&self) -> bool {
        self.number(2) != 0
    }

    /// Whether this part keeps its rows, because they may be needed again.
    ///
    /// # Safety
    /// It is the plan of a part.
    pub(in crate::pg) unsafe fn keeps_rows(&self) -> bool {
        self.number(KEEPS_ROWS) != 0
    }

    /// Whether this part is one that [`run_first`] has marked.
    ///
    /// # Safety
    /// It is the plan of a part.
    pub(in crate::pg) unsafe fn runs_first(&self) -> bool {
        self.number(RUNS_FIRST) != 0
    }

    /// See [`RemotePlan::unsettles`].
    pub fn unsettles(&self) -> bool {
        self.number(3) != 0
    }

    /// The columns of the result.
    pub fn columns(&self) -> ResultColumns {
        ResultColumns { described: self.long_number(4), own_types: self.long_number(6) }
    }

    /// See [`RemotePlan::cursor`].
    pub fn cursor(&self) -> Option<CursorName> {
        match self.number(9) {
            NO_CURSOR => None,
            0 => {
                // SAFETY: the fifth member is a String.
                let name = unsafe { (*list::nth::<pg_sys::String>(self.private, 4)).sval };
                // SAFETY: a C string that lives as long as the plan.
                let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
                Some(CursorName::Name(name.into_owned()))
            }
            number => Some(CursorName::Param(number)),
        }
    }

    /// The options of the cursor that it was planned for.
    pub(in crate::pg) fn cursor_options(&self) -> u32 {
        self.number(8) as u32
    }

    /// See [`RemotePlan::sources`].
    pub fn sources(&self) -> Vec<LocalStatementView<'a>> {
        // SAFETY: behind the first members come pairs of a String and a list of OIDs, which live as long as the plan.
        unsafe {
            let count = (list::len(self.private) - BEFORE_SOURCES) / 2;
            (0..count)
                .map(|i| {
                    let at = BEFORE_SOURCES + 2 * i;
                    let text = list::nth::<pg_sys::String>(self.private, at);
                    LocalStatementView {
                        sql: CStr::from_ptr((*text).sval).to_bytes(),
                        writes: self.number(FIXED + i) != 0,
                        types: list::nth(self.private, at + 1),
                        plan: PhantomData,
                    }
                })
                .collect()
        }
    }

    /// Whether there are any.
    pub fn has_sources(&self) -> bool {
        // SAFETY: `private` was made by `private()`.
        unsafe { list::len(self.private) > BEFORE_SOURCES }
    }

    /// See [`RemotePlan::copy`].
    pub fn copy(&self) -> Option<&'a [u8]> {
        // SAFETY: the fourth member is a String, which lives as long as the plan.
        let text = unsafe {
            CStr::from_ptr((*list::nth::<pg_sys::String>(self.private, 3)).sval).to_bytes()
        };
        Some(text).filter(|text| !text.is_empty())
    }

    /// See [`RemotePlan::namespaces`].
    pub fn namespaces(&self) -> impl Iterator<Item = Oid> + Clone + use<'a> {
        // SAFETY: the third member is a list of OIDs (null if empty).
        unsafe { list::oids(list::nth(self.private, 2)) }
    }
}
