//! Builds and reads the plan of a statement that runs on one node: a custom scan with the text to be sent.
//!
//! The plan lists every relation of the query, so that PostgreSQL locks the shells, checks the caller's permissions on
//! them, and invalidates a cached plan when one of them changes.

use crate::pg::exec::result_columns::{self, ResultColumns};
use crate::pg::tree::list;
use crate::pg::tree::shipment::LocalStatement;
use crate::pg::tree::{QueryTree, expression_tree_walker, names_relation, query_tree_walker};
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::sync::OnceLock;

unsafe extern "C-unwind" {
    // Called many times per plan, so a single guard protects the whole plan.
    fn palloc(size: usize) -> *mut c_void;
    fn palloc0(size: usize) -> *mut c_void;
    fn pnstrdup(text: *const c_char, length: usize) -> *mut c_char;
    fn lappend(list: *mut pg_sys::List, member: *mut c_void) -> *mut pg_sys::List;
    fn lappend_int(list: *mut pg_sys::List, member: c_int) -> *mut pg_sys::List;
    fn lappend_oid(list: *mut pg_sys::List, member: Oid) -> *mut pg_sys::List;
    #[cfg(not(feature = "pg15"))]
    fn list_concat(list: *mut pg_sys::List, tail: *const pg_sys::List) -> *mut pg_sys::List;
    #[cfg(feature = "pg18")]
    fn bms_add_range(
        set: *mut pg_sys::Bitmapset,
        lower: c_int,
        upper: c_int,
    ) -> *mut pg_sys::Bitmapset;
    fn exprType(expr: *const pg_sys::Node) -> Oid;
    fn exprTypmod(expr: *const pg_sys::Node) -> i32;
    fn exprCollation(expr: *const pg_sys::Node) -> Oid;
    fn makeString(text: *mut c_char) -> *mut pg_sys::String;
    fn makeNullConst(of_type: Oid, typmod: i32, collation: Oid) -> *mut pg_sys::Const;
    fn makeVar(
        varno: c_int,
        attribute: pg_sys::AttrNumber,
        of_type: Oid,
        typmod: i32,
        collation: Oid,
        levels_up: pg_sys::Index,
    ) -> *mut pg_sys::Var;
    fn makeTargetEntry(
        expr: *mut pg_sys::Expr,
        number: pg_sys::AttrNumber,
        name: *mut c_char,
        junk: bool,
    ) -> *mut pg_sys::TargetEntry;
    fn materialize_finished_plan(subplan: *mut pg_sys::Plan) -> *mut pg_sys::Plan;
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
    /// Namespaces of all remote objects that it touches.
    pub namespaces: Vec<Oid>,
    /// Statements to run here, whose rows are sent to the node first: the text refers to each by one more parameter, a bigint.
    pub sources: Vec<LocalStatement>,
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

/// A table of functions to which PostgreSQL keeps a pointer.
pub(in crate::pg) struct Methods<T>(pub(in crate::pg) T);
// SAFETY: the tables hold function pointers and static names, and are never written after they are set.
unsafe impl<T> Sync for Methods<T> {}
// SAFETY: as above.
unsafe impl<T> Send for Methods<T> {}

static SCAN: OnceLock<Methods<pg_sys::CustomScanMethods>> = OnceLock::new();
static PART: OnceLock<Methods<pg_sys::CustomScanMethods>> = OnceLock::new();

type Create = unsafe extern "C-unwind" fn(*mut pg_sys::CustomScan) -> *mut pg_sys::Node;

/// Registers the custom scan for plans that run on a node; called once, when the library is loaded.
pub(in crate::pg) fn register(create: Create) {
    register_as(&SCAN, c"Helios", create);
}

/// Registers the custom scan of parts of plans; once, when the library is loaded.
pub(in crate::pg) fn register_part(create: Create) {
    register_as(&PART, c"Helios Part", create);
}

fn register_as(
    table: &'static OnceLock<Methods<pg_sys::CustomScanMethods>>,
    name: &'static CStr,
    create: Create,
) {
    let methods = table.get_or_init(|| {
        Methods(pg_sys::CustomScanMethods {
            CustomName: name.as_ptr(),
            CreateCustomScanState: Some(create),
        })
    });
    // SAFETY: the table is static.
    unsafe { pg_sys::RegisterCustomScanMethods(&methods.0) }
}

fn scan_methods() -> *const pg_sys::CustomScanMethods {
    SCAN.get().map_or(ptr::null(), |methods| &raw const methods.0)
}

/// Methods of the scan of a part of a plan.
pub(in crate::pg) fn part_methods() -> *const pg_sys::CustomScanMethods {
    PART.get().map_or(ptr::null(), |methods| &raw const methods.0)
}

/// Whether a node of a plan is a part that runs on a node of the cluster.
///
/// # Safety
/// `plan` is valid.
pub(in crate::pg) unsafe fn is_part(plan: *const pg_sys::Plan) -> bool {
    // SAFETY: by the caller's promise; the cast follows the tag.
    unsafe {
        (*plan).type_ == NodeTag::T_CustomScan
            && ptr::eq((*plan.cast::<pg_sys::CustomScan>()).methods, part_methods())
    }
}

/// Whether a finished plan contains Helios' scan: at the top, or below the Material node of a scrollable cursor.
///
/// # Safety
/// `plan` is null or a valid plan.
pub(in crate::pg) unsafe fn scan_of_plan(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: by the caller's promise; the casts follow the tags.
    unsafe {
        if plan.is_null() {
            return false;
        }
        match (*plan).type_ {
            NodeTag::T_CustomScan => {
                ptr::eq((*plan.cast::<pg_sys::CustomScan>()).methods, scan_methods())
            }
            NodeTag::T_Material => scan_of_plan((*plan).lefttree),
            _ => false,
        }
    }
}

/// Builds the plan for `query`.
pub(in crate::pg) fn build(
    query: QueryTree<'_>,
    plan: &RemotePlan,
    cursor_options: c_int,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: what is called in here owns nothing that an error would have to drop.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| build_unguarded(query.as_ptr(), plan, cursor_options))
    }
}

/// # Safety
/// `query` is valid. Errors of the server's leave this, and all that it calls, without an unwinding: only behind a guard.
unsafe fn build_unguarded(
    query: *mut pg_sys::Query,
    plan: &RemotePlan,
    cursor_options: c_int,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: palloc0 returns zeroed nodes, complete once their tag is set; everything pointed to lives in the planner's
    // memory context, as the query does.
    unsafe {
        let scan = node::<pg_sys::CustomScan>(NodeTag::T_CustomScan);
        (*scan).methods = scan_methods();
        let select = (*query).commandType == pg_sys::CmdType::CMD_SELECT;
        let columns = if select { (*query).targetList } else { (*query).returningList };
        let returns = select || !columns.is_null();
        (*scan).custom_private = private(plan, result_columns::of_targets(columns, returns));
        describe(scan, columns);
        let mut top: *mut pg_sys::Plan = scan.cast();
        (*top).plan_rows = 1.0;
        if cursor_options & pg_sys::CURSOR_OPT_SCROLL as c_int != 0 {
            top = materialize_finished_plan(top);
        }
        let statement = node::<pg_sys::PlannedStmt>(NodeTag::T_PlannedStmt);
        (*statement).commandType = (*query).commandType;
        (*statement).queryId = (*query).queryId;
        (*statement).hasReturning = !(*query).returningList.is_null();
        (*statement).hasModifyingCTE = (*query).hasModifyingCTE;
        (*statement).canSetTag = (*query).canSetTag;
        (*statement).dependsOnRole = (*query).hasRowSecurity;
        (*statement).planTree = top;
        (*statement).stmt_location = (*query).stmt_location;
        (*statement).stmt_len = (*query).stmt_len;
        collect_relations(query.cast(), statement.cast());
        #[cfg(feature = "pg18")]
        {
            let relations = list::len((*statement).rtable) as c_int;
            (*statement).unprunableRelids = bms_add_range(ptr::null_mut(), 1, relations);
        }
        statement
    }
}

unsafe fn node<T>(tag: NodeTag) -> *mut T {
    // SAFETY: every node begins with its tag; the rest is zero.
    unsafe {
        let node = palloc0(size_of::<T>()).cast::<T>();
        node.cast::<pg_sys::Node>().write(pg_sys::Node { type_: tag });
        node
    }
}

/// Defines the scan's columns from `source`, each as a variable of the scan's own tuple, so that no projection is
/// needed.
unsafe fn describe(scan: *mut pg_sys::CustomScan, source: *mut pg_sys::List) {
    // SAFETY: `source` is null or a list of TargetEntry.
    unsafe {
        for entry in list::iter::<pg_sys::TargetEntry>(source) {
            if (*entry).resjunk {
                continue;
            }
            let expr = (*entry).expr.cast::<pg_sys::Node>();
            let (of_type, typmod, collation) =
                (exprType(expr), exprTypmod(expr), exprCollation(expr));
            let value = makeNullConst(of_type, typmod, collation);
            (*scan).custom_scan_tlist = lappend(
                (*scan).custom_scan_tlist,
                makeTargetEntry(value.cast(), (*entry).resno, (*entry).resname, false).cast(),
            );
            let variable =
                makeVar(pg_sys::INDEX_VAR as c_int, (*entry).resno, of_type, typmod, collation, 0);
            let column = makeTargetEntry(variable.cast(), (*entry).resno, (*entry).resname, false);
            (*column).resorigtbl = (*entry).resorigtbl;
            (*column).resorigcol = (*entry).resorigcol;
            (*scan).scan.plan.targetlist = lappend((*scan).scan.plan.targetlist, column.cast());
        }
    }
}

/// Adds the relations of a query that a node runs to the plan that it is a part of, so that they are locked and checked here.
///
/// # Safety
/// Both are valid.
pub(in crate::pg) unsafe fn add_relations(
    statement: *mut pg_sys::PlannedStmt,
    query: *mut pg_sys::Query,
) {
    // SAFETY: by the caller's promise; what is called in here owns nothing that an error would have to drop.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            #[cfg(feature = "pg18")]
            let before = list::len((*statement).rtable) as c_int;
            collect_relations(query.cast(), statement.cast());
            #[cfg(feature = "pg18")]
            if list::len((*statement).rtable) as c_int > before {
                (*statement).unprunableRelids = bms_add_range(
                    (*statement).unprunableRelids,
                    before + 1,
                    list::len((*statement).rtable) as c_int,
                );
            }
        });
    }
}

/// Adds every relation of the query, at any depth, to the planned statement (`context`).
unsafe extern "C-unwind" fn collect_relations(
    node: *mut pg_sys::Node,
    context: *mut c_void,
) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: PostgreSQL walks a valid tree; `context` is the PlannedStmt of `build`.
    unsafe {
        if (*node).type_ != NodeTag::T_Query {
            return expression_tree_walker(node, collect_relations, context);
        }
        let query = node.cast::<pg_sys::Query>();
        let statement = context.cast::<pg_sys::PlannedStmt>();
        #[cfg(not(feature = "pg15"))]
        let permissions_before = list::len((*statement).permInfos) as u32;
        #[cfg(not(feature = "pg15"))]
        {
            (*statement).permInfos = list_concat((*statement).permInfos, (*query).rteperminfos);
        }
        for entry in list::iter::<pg_sys::RangeTblEntry>((*query).rtable) {
            if !names_relation(&*entry) {
                continue;
            }
            let copy = palloc(size_of::<pg_sys::RangeTblEntry>()).cast::<pg_sys::RangeTblEntry>();
            ptr::copy_nonoverlapping(entry, copy, 1);
            (*copy).tablesample = ptr::null_mut();
            (*copy).subquery = ptr::null_mut();
            (*copy).securityQuals = ptr::null_mut();
            #[cfg(not(feature = "pg15"))]
            if (*copy).perminfoindex > 0 {
                (*copy).perminfoindex += permissions_before;
            }
            (*statement).rtable = lappend((*statement).rtable, copy.cast());
            (*statement).relationOids = lappend_oid((*statement).relationOids, (*entry).relid);
        }
        query_tree_walker(query, collect_relations, context, 0)
    }
}

const NO_OFFSET: c_int = -1;

/// # Safety
/// As [`build_unguarded`].
unsafe fn private(plan: &RemotePlan, columns: ResultColumns) -> *mut pg_sys::List {
    // SAFETY: list building in the current memory context; the text is copied with its length.
    unsafe {
        let sql = pnstrdup(plan.sql.as_ptr().cast(), plan.sql.len());
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
const FIXED: usize = 8;
/// Members of the list of a plan that come before its sources.
const BEFORE_SOURCES: usize = 3;
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
            let private = private(plan, columns);
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
    /// A view of a plan that [`build`] has made.
    ///
    /// # Safety
    /// `scan` is a custom scan made by [`build`] (or a copy of it) that outlives `'a`.
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

    /// See [`RemotePlan::namespaces`].
    pub fn namespaces(&self) -> impl Iterator<Item = Oid> + Clone + use<'a> {
        // SAFETY: the third member is a list of OIDs (null if empty).
        unsafe { list::oids(list::nth(self.private, 2)) }
    }
}
