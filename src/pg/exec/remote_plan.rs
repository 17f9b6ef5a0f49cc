//! Builds and reads the plan of a statement that runs on one node: a custom scan with the text to be sent.
//!
//! The plan lists every relation of the query, so that PostgreSQL locks the shells, checks the caller's permissions on
//! them, and invalidates a cached plan when one of them changes.

use crate::pg::exec::plan_fields::{is_of_cursor, private};
use crate::pg::exec::result_columns;
use crate::pg::tree::list;
use crate::pg::tree::{QueryTree, expression_tree_walker, names_relation, query_tree_walker};
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

pub use crate::pg::exec::plan_fields::{LocalStatementView, PlanView, RemotePlan};
pub(in crate::pg) use crate::pg::exec::plan_fields::{keep_rows, private_of_part, run_first};

unsafe extern "C-unwind" {
    // Called many times per plan, so a single guard protects the whole plan.
    fn palloc(size: usize) -> *mut c_void;
    fn palloc0(size: usize) -> *mut c_void;
    fn lappend(list: *mut pg_sys::List, member: *mut c_void) -> *mut pg_sys::List;
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
        let described = result_columns::of_targets(columns, returns);
        (*scan).custom_private = private(plan, described, cursor_options);
        describe(scan, columns);
        let mut top: *mut pg_sys::Plan = scan.cast();
        (*top).plan_rows = 1.0;
        if is_of_cursor(cursor_options) {
            // The node's cursor moves backward, or refuses to.
            if (*query).rowMarks.is_null() {
                (*scan).flags |= pg_sys::CUSTOMPATH_SUPPORT_BACKWARD_SCAN;
            }
        } else if cursor_options & pg_sys::CURSOR_OPT_SCROLL as c_int != 0 {
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
