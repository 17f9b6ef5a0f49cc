//! Subqueries that one node can run as they are, within a statement over several places: each is set aside, and what stands in
//! its place is a relation without rows of its own, which the planner's hook gives a path to the node.
//!
//! A subquery that only selects rows of one relation stays, because the planner merges it with the query around it, and may
//! find then that it has no rows at all.

use crate::error::Result;
use crate::pg::catalog::object::FIRST_USER_OID;
use crate::pg::tree::function_rules::FunctionRules;
use crate::pg::tree::make::node;
use crate::pg::tree::plain_types::is_plain;
use crate::pg::tree::survey::{
    Survey, expression_tree_walker, query_tree_walker, survey_expression,
};
use crate::pg::tree::{QueryTree, list, masked_names, parse_nodes, subqueries};
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::ffi::c_void;
use std::ptr;

/// A query that was set aside.
#[derive(Clone, Copy)]
pub struct SetAside(*mut pg_sys::Query);

impl SetAside {
    /// A query that a plan reads nothing of here.
    pub(in crate::pg) fn new(query: *mut pg_sys::Query) -> Self {
        Self(query)
    }

    /// The query, for the rest of this room.
    pub(in crate::pg) fn as_ptr(self) -> *mut pg_sys::Query {
        self.0
    }
}

/// Sets aside what `is_on_one_node`, and changes the tree. `function` is one that gives a set of records and takes a bigint; it is
/// never called.
pub fn set_aside<R: FunctionRules>(
    query: QueryTree<'_>,
    function: Oid,
    is_on_one_node: &mut dyn FnMut(&Survey<'_>) -> Result<bool>,
) -> Result<Vec<SetAside>> {
    let mut found = Vec::new();
    // SAFETY: a valid query, which the caller lets us change.
    unsafe { visit::<R>(query.as_ptr(), function, is_on_one_node, &mut found)? };
    Ok(found)
}

unsafe fn visit<R: FunctionRules>(
    query: *mut pg_sys::Query,
    function: Oid,
    is_on_one_node: &mut dyn FnMut(&Survey<'_>) -> Result<bool>,
    found: &mut Vec<SetAside>,
) -> Result<()> {
    // SAFETY: a valid query that is ours to change.
    unsafe {
        for place in subqueries::of(query) {
            let inner = *place;
            if is_worth_it(inner)
                && may_run_on_a_node(inner)
                && is_on_one_node(&survey_expression::<R>(inner.cast()))?
            {
                *place = replacement(inner, function);
                found.push(SetAside(inner));
            } else {
                visit::<R>(inner, function, is_on_one_node, found)?;
            }
        }
        Ok(())
    }
}

/// Whether a query can run on a node that has all of its tables.
///
/// # Safety
/// `query` is valid.
pub(in crate::pg::tree) unsafe fn may_run_on_a_node(query: *mut pg_sys::Query) -> bool {
    // SAFETY: by the caller's promise.
    unsafe {
        subqueries::is_complete(query)
            && !(*query).hasRowSecurity
            && has_plain_columns(query)
            && means_the_same_everywhere(query)
    }
}

/// Whether a query does more than to select rows of one relation.
unsafe fn is_worth_it(query: *mut pg_sys::Query) -> bool {
    // SAFETY: a valid query.
    unsafe {
        let query = &*query;
        query.hasAggs
            || query.hasWindowFuncs
            || !query.groupClause.is_null()
            || !query.groupingSets.is_null()
            || !query.havingQual.is_null()
            || !query.distinctClause.is_null()
            || !query.limitCount.is_null()
            || !query.limitOffset.is_null()
            || !query.setOperations.is_null()
            || subqueries::entries_in_from(ptr::from_ref(query).cast_mut()).len() > 1
    }
}

unsafe fn has_plain_columns(query: *mut pg_sys::Query) -> bool {
    // SAFETY: a valid query.
    unsafe {
        list::iter::<pg_sys::TargetEntry>((*query).targetList).all(|entry| {
            let of_type = pg_sys::exprType((*entry).expr.cast());
            (*entry).resjunk || !matches!(of_type, pg_sys::RECORDOID | pg_sys::RECORDARRAYOID)
        })
    }
}

/// Whether a query gives the same on every server that has its tables: whatever it calls came with the server, and depends on
/// its arguments alone.
unsafe fn means_the_same_everywhere(query: *mut pg_sys::Query) -> bool {
    // SAFETY: a valid query.
    unsafe { !query_tree_walker(query, depends_on_place, ptr::null_mut(), 0) }
}

unsafe extern "C-unwind" fn depends_on_place(
    node: *mut pg_sys::Node,
    context: *mut c_void,
) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: PostgreSQL walks a valid tree; the casts follow the tags.
    unsafe {
        if masked_names::is_masked(node) {
            return true;
        }
        match (*node).type_ {
            NodeTag::T_Query => query_tree_walker(node.cast(), depends_on_place, context, 0),
            NodeTag::T_Var => {
                i32::from((*node.cast::<pg_sys::Var>()).varattno) == pg_sys::TableOidAttributeNumber
            }
            NodeTag::T_Const => !is_plain((*node.cast::<pg_sys::Const>()).consttype),
            NodeTag::T_Param => {
                let param = &*node.cast::<pg_sys::Param>();
                // Results of sublinks in their conditions are parameters of theirs.
                param.paramkind == pg_sys::ParamKind::PARAM_EXTERN && !is_plain(param.paramtype)
            }
            NodeTag::T_SQLValueFunction | NodeTag::T_NextValueExpr | NodeTag::T_CurrentOfExpr => {
                true
            }
            _ => {
                pg_sys::check_functions_in_node(node, Some(function_depends), ptr::null_mut())
                    || expression_tree_walker(node, depends_on_place, context)
            }
        }
    }
}

unsafe extern "C-unwind" fn function_depends(function: Oid, _context: *mut c_void) -> bool {
    // SAFETY: a syscache look-up.
    function.to_u32() >= FIRST_USER_OID || unsafe { pg_sys::func_volatile(function) } as u8 != b'i'
}

/// The query that takes the place of one that is set aside: `SELECT` of its columns from a relation that has it, constants
/// apart, which the planner can make use of.
pub(super) unsafe fn replacement(inner: *mut pg_sys::Query, function: Oid) -> *mut pg_sys::Query {
    // SAFETY: a valid query; what is made are complete nodes.
    unsafe {
        let entry = node::<pg_sys::RangeTblEntry>(NodeTag::T_RangeTblEntry);
        let call = pg_sys::makeFuncExpr(
            function,
            pg_sys::RECORDOID,
            pg_sys::lappend(
                ptr::null_mut(),
                pg_sys::makeNullConst(pg_sys::INT8OID, -1, Oid::INVALID).cast(),
            ),
            Oid::INVALID,
            Oid::INVALID,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
        );
        (*call).funcretset = true;
        let called = node::<pg_sys::RangeTblFunction>(NodeTag::T_RangeTblFunction);
        (*called).funcexpr = call.cast();
        let outer = node::<pg_sys::Query>(NodeTag::T_Query);
        let keeps_constants = (*inner).commandType == pg_sys::CmdType::CMD_SELECT
            && (*inner).distinctClause.is_null()
            && (*inner).setOperations.is_null();
        let mut names: *mut pg_sys::List = ptr::null_mut();
        for target in list::iter::<pg_sys::TargetEntry>(subqueries::columns(inner)) {
            if (*target).resjunk {
                continue;
            }
            let expression = (*target).expr.cast::<pg_sys::Node>();
            let (of_type, modifier) =
                (pg_sys::exprType(expression), pg_sys::exprTypmod(expression));
            let collation = pg_sys::exprCollation(expression);
            (*called).funccolcount += 1;
            let number = (*called).funccolcount as pg_sys::AttrNumber;
            let name = parse_nodes::palloc_text(&format!("c{number}"));
            names = pg_sys::lappend(names, pg_sys::makeString(name).cast());
            (*called).funccoltypes = pg_sys::lappend_oid((*called).funccoltypes, of_type);
            (*called).funccoltypmods = pg_sys::lappend_int((*called).funccoltypmods, modifier);
            (*called).funccolcollations =
                pg_sys::lappend_oid((*called).funccolcollations, collation);
            let value: *mut pg_sys::Expr =
                if keeps_constants && (*expression).type_ == NodeTag::T_Const {
                    pg_sys::copyObjectImpl(expression.cast()).cast()
                } else {
                    pg_sys::makeVar(1, number, of_type, modifier, collation, 0).cast()
                };
            let column = pg_sys::makeTargetEntry(value, number, (*target).resname, false);
            (*column).resorigtbl = (*target).resorigtbl;
            (*column).resorigcol = (*target).resorigcol;
            (*outer).targetList = pg_sys::lappend((*outer).targetList, column.cast());
        }
        (*called).funccolnames = pg_sys::copyObjectImpl(names.cast()).cast();
        (*entry).rtekind = pg_sys::RTEKind::RTE_FUNCTION;
        (*entry).functions = pg_sys::lappend(ptr::null_mut(), called.cast());
        (*entry).subquery = inner;
        (*entry).eref = pg_sys::makeAlias(c"part".as_ptr(), names);
        (*entry).inFromCl = true;
        (*outer).commandType = pg_sys::CmdType::CMD_SELECT;
        (*outer).canSetTag = true;
        (*outer).rtable = pg_sys::lappend(ptr::null_mut(), entry.cast());
        let reference = node::<pg_sys::RangeTblRef>(NodeTag::T_RangeTblRef);
        (*reference).rtindex = 1;
        let from = pg_sys::lappend(ptr::null_mut(), reference.cast());
        (*outer).jointree = pg_sys::makeFromExpr(from, ptr::null_mut());
        outer
    }
}

/// The query that was set aside for a range table entry.
///
/// # Safety
/// `entry` is valid.
pub(in crate::pg) unsafe fn of_entry<'a>(
    entry: *const pg_sys::RangeTblEntry,
) -> Option<QueryTree<'a>> {
    // SAFETY: by the caller's promise: an entry of a function has no subquery but one of ours.
    unsafe {
        if (*entry).rtekind == pg_sys::RTEKind::RTE_FUNCTION {
            QueryTree::new((*entry).subquery)
        } else {
            None
        }
    }
}

/// The entry of the table whose columns are all that a query gives, under the same numbers; NULL may stand for some.
pub(in crate::pg) fn whole_table(query: QueryTree<'_>) -> Option<*mut pg_sys::RangeTblEntry> {
    // SAFETY: a valid query; the casts follow the tags.
    unsafe {
        let query = query.as_ptr();
        if is_worth_it(query)
            || subqueries::changes_or_locks(query)
            || !(*query).cteList.is_null()
            || (*query).hasTargetSRFs
            || list::len((*query).rtable) != 1
            || !(*(*query).jointree).quals.is_null()
        {
            return None;
        }
        let is_column = |target: *mut pg_sys::TargetEntry| {
            let value = (*target).expr.cast::<pg_sys::Node>();
            match (*value).type_ {
                NodeTag::T_Const => (*value.cast::<pg_sys::Const>()).constisnull,
                NodeTag::T_Var => (*value.cast::<pg_sys::Var>()).varattno == (*target).resno,
                _ => false,
            }
        };
        let entry = list::nth::<pg_sys::RangeTblEntry>((*query).rtable, 0);
        ((*entry).rtekind == pg_sys::RTEKind::RTE_RELATION
            && list::iter::<pg_sys::TargetEntry>((*query).targetList).all(is_column))
        .then_some(entry)
    }
}

/// About how many rows a query gives whose form tells it; None if that depends on its tables.
pub(in crate::pg) fn usual_rows(query: QueryTree<'_>) -> Option<f64> {
    /// Groups that PostgreSQL expects where it has no statistics.
    const GROUPS: f64 = 200.0;
    // SAFETY: a valid query; the cast follows the tag.
    unsafe {
        let query = &*query.as_ptr();
        let limit = query.limitCount.cast::<pg_sys::Const>();
        if !limit.is_null() && (*limit).xpr.type_ == NodeTag::T_Const && !(*limit).constisnull {
            return Some((*limit).constvalue.value() as f64);
        }
        if !query.groupClause.is_null() {
            return Some(GROUPS);
        }
        (query.hasAggs && query.groupingSets.is_null()).then_some(1.0)
    }
}

/// The entry as a subquery of the part that was set aside.
///
/// # Safety
/// `entry` is a copy of one that [`of_entry`] gives a query for.
pub(in crate::pg) unsafe fn make_subquery(entry: *mut pg_sys::RangeTblEntry) {
    // SAFETY: by the caller's promise; the alias names the columns as the plan knows them.
    unsafe {
        (*entry).rtekind = pg_sys::RTEKind::RTE_SUBQUERY;
        (*entry).functions = ptr::null_mut();
        (*entry).alias = pg_sys::copyObjectImpl((*entry).eref.cast()).cast();
    }
}
