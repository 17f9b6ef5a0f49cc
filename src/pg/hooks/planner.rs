//! The planner's hooks: `post_parse_analyze_hook` and `planner_hook`.

use crate::error::Result;
use crate::pg::error::trampoline;
use crate::pg::exec::part_path::{self, PartHooks};
use crate::pg::exec::remote_plan::{self, RemotePlan};
use crate::pg::exec::{estimate, evaluate};
use crate::pg::tree::set_aside::SetAside;
use crate::pg::tree::{ParamUse, QueryTree};
use crate::pg::tree::{bound_params, list};
use pgrx::pg_sys;
use std::ffi::{CStr, c_char, c_int};
use std::ptr;
use std::sync::OnceLock;

/// Decisions of the extension while PostgreSQL analyzes and plans a query.
pub trait PlannerHooks: PartHooks {
    /// Called with every analyzed query before it is rewritten; `named_variables` tells whether its source may refer to
    /// variables of a procedural language.
    fn analyzed(query: QueryTree<'_>, source: &[u8], named_variables: bool) -> Result<()>;
    /// Decides who plans a query.
    fn plan<'a>(query: QueryTree<'a>, source: &[u8]) -> Result<Planned<'a>>;
    /// A better way for a query whose plan over the rows of nodes fetches so many: a node runs it, and is sent rows first.
    fn ship(query: QueryTree<'_>, fetched_rows: f64) -> Result<Option<RemotePlan>>;
    /// Whether the query calls functions that PostgreSQL may inline, so that its plan can contain relations that the
    /// query does not name.
    fn may_inline(query: QueryTree<'_>) -> bool;
    /// Reviews a plan that PostgreSQL made for such a query, given the relations in the plan.
    fn review(relations: &mut dyn Iterator<Item = pg_sys::Oid>) -> Result<Review>;
}

/// What to do with a plan made by PostgreSQL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Review {
    /// The plan is used.
    Keep,
    /// An inlined function has added a relation that must not be read here: the query is planned for a node.
    Replan,
}

/// A query that was changed so that PostgreSQL can plan it over the rows of nodes.
pub struct InParts<'a> {
    /// Queries within it that nodes run.
    pub set_aside: Vec<SetAside>,
    /// The query as it was, if its rows may as well be sent to a node that runs it.
    pub whole: Option<QueryTree<'a>>,
}

/// Who plans a query.
pub enum Planned<'a> {
    /// PostgreSQL plans it.
    Here,
    /// PostgreSQL plans it, over queries that nodes run.
    InParts(InParts<'a>),
    /// It runs on a node.
    Remote(RemotePlan),
    /// It is an expression, to be evaluated on a node.
    Expression {
        plan: RemotePlan,
        /// Its parameters.
        params: Vec<ParamUse>,
        /// The SQL function to call instead: one implemented by [`evaluate::evaluate`], with the arguments
        /// [`evaluate::SIGNATURE`].
        function: pg_sys::Oid,
    },
}

static PREVIOUS: OnceLock<Previous> = OnceLock::new();

struct Previous {
    planner: pg_sys::planner_hook_type,
    analyze: pg_sys::post_parse_analyze_hook_type,
}

unsafe extern "C-unwind" {
    // Not pgrx's binding, whose guard would strip errors of their fields.
    fn standard_planner(
        parse: *mut pg_sys::Query,
        source: *const c_char,
        options: c_int,
        params: pg_sys::ParamListInfo,
    ) -> *mut pg_sys::PlannedStmt;
}

/// Installs the hooks; called once, when the library is loaded.
pub(super) fn install<H: PlannerHooks>() {
    part_path::install::<H>();
    // SAFETY: called while the library is loaded, in a single-threaded process.
    unsafe {
        PREVIOUS.get_or_init(|| Previous {
            planner: pg_sys::planner_hook,
            analyze: pg_sys::post_parse_analyze_hook,
        });
        pg_sys::planner_hook = Some(planner::<H>);
        pg_sys::post_parse_analyze_hook = Some(analyzed::<H>);
    }
}

unsafe fn source_text<'a>(source: *const c_char) -> &'a [u8] {
    // SAFETY: null or a NUL-terminated text that outlives the hook's call.
    if source.is_null() { b"" } else { unsafe { CStr::from_ptr(source) }.to_bytes() }
}

unsafe extern "C-unwind" fn planner<H: PlannerHooks>(
    parse: *mut pg_sys::Query,
    source: *const c_char,
    options: c_int,
    params: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: the arguments are the planner's own; the standard planner may change `parse`, so the second attempt
    // (an inlined function brought a relation in) needs the copy.
    unsafe {
        let decided = trampoline(Decided::Here, || {
            let _bound = bound_params::bind(params);
            decide::<H>(parse, source, options)
        });
        if let Decided::Planned(remote) = decided {
            return remote;
        }
        let copy = match decided {
            Decided::Here => trampoline(ptr::null_mut(), || Ok(copy_if_inlinable::<H>(parse))),
            _ => ptr::null_mut(),
        };
        let parts = part_path::planned();
        let local = match PREVIOUS.get().and_then(|p| p.planner) {
            Some(previous) => previous(parse, source, options, params),
            None => standard_planner(parse, source, options, params),
        };
        if part_path::planned() != parts {
            part_path::mark_repeated(local);
        }
        if let Decided::InParts { set_aside, whole } = decided {
            let shipped = trampoline(ptr::null_mut(), || ship::<H>(local, whole, options));
            if !shipped.is_null() {
                return shipped;
            }
            list::iter(set_aside).for_each(|query| remote_plan::add_relations(local, query));
        }
        if copy.is_null() {
            return local;
        }
        let remote = trampoline(ptr::null_mut(), || replan::<H>(local, copy, source, options));
        if remote.is_null() { local } else { remote }
    }
}

/// What was decided before PostgreSQL plans.
#[derive(Clone, Copy)]
enum Decided {
    Here,
    /// Over queries that were set aside (a list of them), of one that was like `whole`, if that is not null.
    InParts {
        set_aside: *mut pg_sys::List,
        whole: *mut pg_sys::Query,
    },
    Planned(*mut pg_sys::PlannedStmt),
}

unsafe fn decide<H: PlannerHooks>(
    parse: *mut pg_sys::Query,
    source: *const c_char,
    options: c_int,
) -> Result<Decided> {
    // SAFETY: PostgreSQL passes a valid query and text.
    let (query, text) = unsafe { (QueryTree::new(parse), source_text(source)) };
    let Some(query) = query else { return Ok(Decided::Here) };
    Ok(match H::plan(query, text)? {
        Planned::Remote(remote) => Decided::Planned(remote_plan::build(query, &remote, options)),
        Planned::Expression { plan, params, function } => {
            evaluate::substitute(query, &plan, &params, function);
            Decided::Here
        }
        Planned::InParts(parts) => {
            let mut set_aside: *mut pg_sys::List = ptr::null_mut();
            for query in parts.set_aside {
                // SAFETY: a list of the planner's.
                set_aside = unsafe { pg_sys::lappend(set_aside, query.as_ptr().cast()) };
            }
            let whole = parts.whole.map_or(ptr::null_mut(), QueryTree::as_ptr);
            Decided::InParts { set_aside, whole }
        }
        Planned::Here => Decided::Here,
    })
}

/// Plans `whole` for a node if that is better than `local`, the plan over the rows of nodes.
unsafe fn ship<H: PlannerHooks>(
    local: *mut pg_sys::PlannedStmt,
    whole: *mut pg_sys::Query,
    options: c_int,
) -> Result<*mut pg_sys::PlannedStmt> {
    // SAFETY: a finished plan, and null or a valid query.
    let (query, fetched) = unsafe { (QueryTree::new(whole), estimate::fetched_rows(local)) };
    // A cursor sees what there was when it was opened; the node would begin with the first row that is fetched.
    let is_cursor = options as u32 & pg_sys::CURSOR_OPT_FAST_PLAN != 0;
    let Some(query) = query.filter(|_| !is_cursor) else { return Ok(ptr::null_mut()) };
    Ok(match H::ship(query, fetched)? {
        Some(plan) => remote_plan::build(query, &plan, options),
        None => ptr::null_mut(),
    })
}

unsafe fn copy_if_inlinable<H: PlannerHooks>(parse: *mut pg_sys::Query) -> *mut pg_sys::Query {
    // SAFETY: PostgreSQL passes a valid query.
    unsafe {
        match QueryTree::new(parse) {
            Some(query) if H::may_inline(query) => pg_sys::copyObjectImpl(parse.cast()).cast(),
            _ => ptr::null_mut(),
        }
    }
}

/// Plans `copy` for a node if the finished plan reads a relation that comes from an inlined function and must not be
/// read here.
unsafe fn replan<H: PlannerHooks>(
    local: *mut pg_sys::PlannedStmt,
    copy: *mut pg_sys::Query,
    source: *const c_char,
    options: c_int,
) -> Result<*mut pg_sys::PlannedStmt> {
    // SAFETY: a finished plan's relationOids is a list of OIDs; `copy` is a valid query. Its relations are added as
    // range table entries of nothing, so that facts are gathered from them as well.
    unsafe {
        let relations = list::oids((*local).relationOids);
        if H::review(&mut relations.clone())? == Review::Keep {
            return Ok(ptr::null_mut());
        }
        for oid in relations {
            let entry =
                pg_sys::palloc0(size_of::<pg_sys::RangeTblEntry>()).cast::<pg_sys::RangeTblEntry>();
            (*entry).type_ = pg_sys::NodeTag::T_RangeTblEntry;
            (*entry).rtekind = pg_sys::RTEKind::RTE_RELATION;
            (*entry).relid = oid;
            (*entry).relkind = pg_sys::get_rel_relkind(oid);
            (*entry).rellockmode = pg_sys::AccessShareLock as c_int;
            // EXPLAIN expects a name in every entry.
            (*entry).eref = pg_sys::makeAlias(pg_sys::get_rel_name(oid), ptr::null_mut());
            (*copy).rtable = pg_sys::lappend((*copy).rtable, entry.cast());
        }
        Ok(match decide::<H>(copy, source, options)? {
            Decided::Planned(remote) => remote,
            _ => ptr::null_mut(),
        })
    }
}

unsafe extern "C-unwind" fn analyzed<H: PlannerHooks>(
    pstate: *mut pg_sys::ParseState,
    query: *mut pg_sys::Query,
    jumble: *mut pg_sys::JumbleState,
) {
    // SAFETY: the arguments are the parser's own.
    unsafe {
        if let Some(previous) = PREVIOUS.get().and_then(|p| p.analyze) {
            previous(pstate, query, jumble);
        }
        trampoline((), || {
            let named = (*pstate).p_pre_columnref_hook.is_some()
                || (*pstate).p_post_columnref_hook.is_some();
            match QueryTree::new(query) {
                Some(tree) => H::analyzed(tree, source_text((*pstate).p_sourcetext), named),
                None => Ok(()),
            }
        });
    }
}
