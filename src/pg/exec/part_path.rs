//! The only way to the rows of a relation that is elsewhere, within a plan that PostgreSQL makes: a custom scan that asks the
//! relation's node for what the plan needs of it.
//!
//! Invariant: no other path of such a relation is left, so that no plan reads its copy here.

use crate::error::{Error, Result};
use crate::pg::catalog::object::FIRST_USER_OID;
use crate::pg::error::trampoline;
use crate::pg::exec::first_rows;
use crate::pg::exec::plan_walk::{self, Passes};
use crate::pg::exec::remote_plan::{self, Methods, RemotePlan};
use crate::pg::exec::result_columns;
use crate::pg::tree::{QueryTree, deparse, list, part_query, row_locks, set_aside};
use pgrx::pg_sys::{self, NodeTag, Oid, errcodes::PgSqlErrorCode as Code};
use std::cell::Cell;
use std::ffi::c_int;
use std::ptr;
use std::sync::OnceLock;

/// What the extension tells of relations while PostgreSQL plans.
pub trait PartHooks {
    /// Whether the relation's rows are elsewhere.
    fn is_elsewhere(relation: Oid) -> Result<bool>;
    /// The namespaces that a query touches which was set aside for a node.
    fn namespaces(query: QueryTree<'_>) -> Result<Vec<Oid>>;
    /// About how many rows the tables have that such a query reads.
    fn rows(query: QueryTree<'_>) -> Result<f64>;
    /// The size of a relation that is elsewhere, if it is known.
    fn size(relation: Oid) -> Result<Option<Size>>;
}

/// How large a table is, about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// Pages on disk.
    pub pages: u32,
    /// Rows.
    pub rows: f64,
}

static PREVIOUS: OnceLock<Previous> = OnceLock::new();

struct Previous {
    pathlist: pg_sys::set_rel_pathlist_hook_type,
    relation_info: pg_sys::get_relation_info_hook_type,
}

static PATH: Methods<pg_sys::CustomPathMethods> = Methods(pg_sys::CustomPathMethods {
    CustomName: c"Helios Part".as_ptr(),
    PlanCustomPath: Some(plan_part),
    ReparameterizeCustomPathByChild: None,
});

thread_local! {
    /// Parts planned by this backend so far: tells whether a plan can have some.
    static PLANNED: Cell<u64> = const { Cell::new(0) };
}

/// Rows that cost as much as the first answer of a node, about.
const ROUND_TRIP_COST: f64 = 100.0;
/// What a row costs that comes from a node, as postgres_fdw has it.
const ROW_COST: f64 = 0.2;

/// Installs the hook; once, when the library is loaded.
pub(in crate::pg) fn install<H: PartHooks>() {
    // SAFETY: called while the library is loaded, in a single-threaded process.
    unsafe {
        PREVIOUS.get_or_init(|| Previous {
            pathlist: pg_sys::set_rel_pathlist_hook,
            relation_info: pg_sys::get_relation_info_hook,
        });
        pg_sys::set_rel_pathlist_hook = Some(set_pathlist::<H>);
        pg_sys::get_relation_info_hook = Some(get_relation_info::<H>);
    }
}

/// Number of parts planned by this backend so far.
pub(in crate::pg) fn planned() -> u64 {
    PLANNED.get()
}

unsafe extern "C-unwind" fn get_relation_info<H: PartHooks>(
    root: *mut pg_sys::PlannerInfo,
    relation: Oid,
    is_parent: bool,
    rel: *mut pg_sys::RelOptInfo,
) {
    // SAFETY: the arguments are the planner's own.
    unsafe {
        if let Some(previous) = PREVIOUS.get().and_then(|p| p.relation_info) {
            previous(root, relation, is_parent, rel);
        }
        // An index build and CLUSTER plan for the relation as it is here.
        if (*(*root).parse).jointree.is_null() {
            return;
        }
        trampoline((), || {
            if relation.to_u32() < FIRST_USER_OID || !H::is_elsewhere(relation)? {
                return Ok(());
            }
            if let Some(size) = H::size(relation)? {
                (*rel).pages = size.pages;
                (*rel).tuples = size.rows;
            }
            Ok(())
        });
    }
}

unsafe extern "C-unwind" fn set_pathlist<H: PartHooks>(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    number: pg_sys::Index,
    entry: *mut pg_sys::RangeTblEntry,
) {
    // SAFETY: the arguments are the planner's own.
    unsafe {
        if let Some(previous) = PREVIOUS.get().and_then(|p| p.pathlist) {
            previous(root, rel, number, entry);
        }
        trampoline((), || {
            if let Some(query) = set_aside::of_entry(entry) {
                if query.writes() {
                    replace_paths(root, rel, &[]);
                    return Ok(());
                }
                let rows = match set_aside::usual_rows(query) {
                    Some(rows) => rows,
                    None if set_aside::whole_table(query).is_some() => {
                        H::rows(query)? * selectivity(root, rel)
                    }
                    None => H::rows(query)?,
                };
                (*rel).rows = pg_sys::clamp_row_est(rows);
                replace_paths(root, rel, &H::namespaces(query)?);
                return Ok(());
            }
            // The members of an inheritance tree come one by one.
            let relation = (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION && !(*entry).inh;
            if !relation
                || (*entry).relid.to_u32() < FIRST_USER_OID
                || !H::is_elsewhere((*entry).relid)?
                || pg_sys::is_dummy_rel(rel)
            {
                return Ok(());
            }
            check_reader(rel, (*entry).relid)?;
            check_member(root, rel, number, entry)?;
            replace_paths(root, rel, &[pg_sys::get_rel_namespace((*entry).relid)]);
            Ok(())
        });
    }
}

/// Refuses rows that row security would choose for somebody else: the node chooses them for whoever runs the statement.
///
/// # Safety
/// `rel` is the planner's own.
unsafe fn check_reader(rel: *mut pg_sys::RelOptInfo, relation: Oid) -> Result<()> {
    // SAFETY: by the caller's promise; the planner holds a lock on the relation.
    unsafe {
        let reader = (*rel).userid;
        if reader == Oid::INVALID || reader == pg_sys::GetUserId() {
            return Ok(());
        }
        let opened = pg_sys::relation_open(relation, pg_sys::NoLock as c_int);
        let has_policies = (*(*opened).rd_rel).relrowsecurity;
        pg_sys::relation_close(opened, pg_sys::NoLock as c_int);
        if !has_policies {
            return Ok(());
        }
        let name = crate::pg::catalog::names::displayed_relation_name(relation);
        Err(Error::new(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("cannot read table \"{name}\" with the rights of a view's owner in a statement over several places"),
        )
        .detail("The table has row security, and its node would choose the rows that the current user may see.")
        .hint("Create the view in the table's schema, or name the table in the statement."))
    }
}

/// Refuses rows of a member of an inheritance tree that its own row security would choose: what chooses the rows of a tree are the
/// policies of its root.
///
/// # Safety
/// The arguments are the planner's own.
unsafe fn check_member(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    number: pg_sys::Index,
    entry: *mut pg_sys::RangeTblEntry,
) -> Result<()> {
    // SAFETY: by the caller's promise: the array has an element for each number if the query has a tree.
    unsafe {
        if (*rel).reloptkind != pg_sys::RelOptKind::RELOPT_OTHER_MEMBER_REL {
            return Ok(());
        }
        let member = *(*root).append_rel_array.add(number as usize);
        let parent = *(*root).simple_rte_array.add((*member).parent_relid as usize);
        let is_own =
            (*parent).rtekind != pg_sys::RTEKind::RTE_RELATION || (*parent).relid == (*entry).relid;
        let relation = (*entry).relid;
        if is_own
            || pg_sys::check_enable_rls(relation, Oid::INVALID, true)
                != pg_sys::CheckEnableRlsResult::RLS_ENABLED as c_int
        {
            return Ok(());
        }
        let name = crate::pg::catalog::names::displayed_relation_name(relation);
        let root = crate::pg::catalog::names::displayed_relation_name((*parent).relid);
        Err(Error::new(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("cannot read table \"{root}\" member by member in a statement over several places: table \"{name}\" has row security"),
        )
        .detail("The statement locks rows of the table, reads it through a view, samples it, or uses its rows as a whole or their tableoid.")
        .hint("Name the columns that the statement needs, and read the table without FOR UPDATE."))
    }
}

/// The share of a relation's rows for which the conditions on it are true, about.
///
/// # Safety
/// The arguments are the planner's own.
unsafe fn selectivity(root: *mut pg_sys::PlannerInfo, rel: *mut pg_sys::RelOptInfo) -> f64 {
    // SAFETY: by the caller's promise.
    unsafe {
        let conditions = (*rel).baserestrictinfo;
        let join = pg_sys::JoinType::JOIN_INNER;
        pg_sys::clauselist_selectivity(root, conditions, 0, join, ptr::null_mut())
    }
}

/// Leaves the relation one way to be read: as a part.
///
/// # Safety
/// The arguments are the planner's own.
unsafe fn replace_paths(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    namespaces: &[Oid],
) {
    // SAFETY: by the caller's promise; palloc0 gives zeroed nodes, complete once their tags are set.
    unsafe {
        let path = pg_sys::palloc0(size_of::<pg_sys::CustomPath>()).cast::<pg_sys::CustomPath>();
        (*path).path.type_ = NodeTag::T_CustomPath;
        (*path).path.pathtype = NodeTag::T_CustomScan;
        (*path).path.parent = rel;
        (*path).path.pathtarget = (*rel).reltarget;
        (*path).path.rows = (*rel).rows;
        // What LATERAL computes of other relations at this one is a parameter, as for every scan.
        let params = pg_sys::get_baserel_parampathinfo(root, rel, (*rel).lateral_relids);
        if !params.is_null() {
            (*path).path.param_info = params;
            (*path).path.rows = (*params).ppi_rows;
        }
        (*path).path.startup_cost = ROUND_TRIP_COST;
        (*path).path.total_cost = ROUND_TRIP_COST + ROW_COST * (*rel).rows;
        (*path).flags = pg_sys::CUSTOMPATH_SUPPORT_PROJECTION;
        (*path).methods = &raw const PATH.0;
        for &namespace in namespaces {
            (*path).custom_private = pg_sys::lappend_oid((*path).custom_private, namespace);
        }
        (*rel).pathlist = pg_sys::lappend(ptr::null_mut(), path.cast());
        (*rel).partial_pathlist = ptr::null_mut();
        (*rel).consider_parallel = false;
    }
}

unsafe extern "C-unwind" fn plan_part(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    path: *mut pg_sys::CustomPath,
    targets: *mut pg_sys::List,
    clauses: *mut pg_sys::List,
    _plans: *mut pg_sys::List,
) -> *mut pg_sys::Plan {
    // SAFETY: the arguments are the planner's own, for a path of ours.
    unsafe {
        trampoline(ptr::null_mut(), || {
            let number = (*rel).relid;
            let entry = *(*root).simple_rte_array.add(number as usize);
            // The targets may be replaced by others, which need nothing but what the relation, or this path, was to give.
            let given = pg_sys::list_copy((*(*path).path.pathtarget).exprs);
            let needed = pg_sys::list_concat(given, (*(*rel).reltarget).exprs);
            let needed = pg_sys::list_concat(needed, targets);
            if let Some(query) = set_aside::of_entry(entry)
                && query.writes()
            {
                PLANNED.set(PLANNED.get() + 1);
                return first_rows::plan(number, query, targets, clauses);
            }
            let part = part_query::of_relation(number, entry, needed, clauses);
            let columns = result_columns::of_targets((*part.query).targetList, true);
            let sql = deparse::deparse(part.query)?;
            let plan = RemotePlan {
                sql,
                offset: None,
                params: part.params,
                writes: row_locks::of_entry(entry).is_some(),
                unsettles: false,
                cursor: None,
                namespaces: list::oids((*path).custom_private).collect(),
                sources: Vec::new(),
                copy: Vec::new(),
            };
            let scan =
                pg_sys::palloc0(size_of::<pg_sys::CustomScan>()).cast::<pg_sys::CustomScan>();
            (*scan).scan.plan.type_ = NodeTag::T_CustomScan;
            (*scan).scan.plan.targetlist = targets;
            (*scan).scan.plan.qual = part.conditions_here;
            // Only a relation can be opened; a query that was set aside is known by its columns.
            if (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION {
                (*scan).scan.scanrelid = number;
            }
            (*scan).flags = (*path).flags;
            (*scan).custom_scan_tlist = part.columns;
            (*scan).methods = remote_plan::part_methods();
            (*scan).custom_private = remote_plan::private_of_part(&plan, columns);
            PLANNED.set(PLANNED.get() + 1);
            Ok(scan.cast())
        })
    }
}

/// Lets the parts of a plan that may be run through several times keep their rows.
///
/// # Safety
/// `statement` is a valid planned statement.
pub(in crate::pg) unsafe fn mark_repeated(statement: *mut pg_sys::PlannedStmt) {
    // SAFETY: by the caller's promise.
    unsafe {
        plan_walk::walk_statement(statement, &mut |plan, passes| {
            if passes == Passes::Many && remote_plan::is_part(plan) {
                remote_plan::keep_rows(plan.cast());
            }
        });
    }
}
