//! UNION ALL over tables of several nodes, as a view over many tenants has it: branches that a constant of theirs excludes are
//! dropped, those of one node become one query, which is set aside for it then, and aggregates over all of them are computed
//! in part where the rows are.

use crate::error::Result;
use crate::pg::tree::function_rules::FunctionRules;
use crate::pg::tree::mutate::expression_tree_mutator;
use crate::pg::tree::set_aside::{self, SetAside};
use crate::pg::tree::survey::{Survey, survey_expression};
use crate::pg::tree::union_branches::{UnionAll, columns_of};
use crate::pg::tree::{QueryTree, bound_params, list, part_query, partial_aggregates, subqueries};
use pgrx::pg_sys::{self, NodeTag};
use std::ffi::c_void;
use std::ptr;

/// Tells the node that can run all of a query, by what the query touches.
pub type NodeOf<'a> = dyn FnMut(&Survey<'_>) -> Result<Option<i32>> + 'a;

/// Rewrites `query` and everything within it; gives the branches that were dropped, whose tables are read by nobody, but have to
/// be locked and checked for privileges.
pub fn rewrite<R: FunctionRules>(
    query: QueryTree<'_>,
    node_of: &mut NodeOf<'_>,
) -> Result<Vec<SetAside>> {
    let mut dropped = Vec::new();
    // SAFETY: a valid query, which the caller lets us change.
    unsafe { visit::<R>(query.as_ptr(), node_of, &mut dropped)? };
    Ok(dropped)
}

unsafe fn visit<R: FunctionRules>(
    query: *mut pg_sys::Query,
    node_of: &mut NodeOf<'_>,
    dropped: &mut Vec<SetAside>,
) -> Result<()> {
    // SAFETY: a valid query that is ours to change.
    unsafe {
        if let Some(all) = UnionAll::of(query) {
            let places = all.places::<R>(node_of)?;
            all.put(all.grouped(&places));
        }
        for number in subqueries::entries_in_from(query) {
            let entry = list::nth::<pg_sys::RangeTblEntry>((*query).rtable, number - 1);
            if (*entry).rtekind != pg_sys::RTEKind::RTE_SUBQUERY || (*entry).security_barrier {
                continue;
            }
            let Some(all) = UnionAll::of((*entry).subquery).filter(UnionAll::is_bare) else {
                continue;
            };
            let before = dropped.len();
            let all = all.without_excluded(query, number, dropped);
            let places = all.places::<R>(node_of)?;
            let branches = all.branches.iter().copied().zip(places).collect();
            let is_reduced = dropped.len() > before;
            if let Some(rewritten) =
                partial_aggregates::rewrite(query, number, &all, branches, is_reduced)
            {
                dropped.push(SetAside::new(rewritten.view));
                // Nothing else is in the query, and what runs on nodes is set aside as it is.
                let mut here = rewritten.here.into_iter();
                return here.try_for_each(|inner| visit::<R>(inner, node_of, dropped));
            }
        }
        for place in subqueries::of(query) {
            visit::<R>(*place, node_of, dropped)?;
        }
    }
    Ok(())
}

impl UnionAll {
    /// The node of each branch that one can run.
    unsafe fn places<R: FunctionRules>(
        &self,
        node_of: &mut NodeOf<'_>,
    ) -> Result<Vec<Option<i32>>> {
        let place = |&branch: &*mut pg_sys::Query| {
            // SAFETY: valid queries.
            unsafe {
                if set_aside::may_run_on_a_node(branch) {
                    node_of(&survey_expression::<R>(branch.cast()))
                } else {
                    Ok(None)
                }
            }
        };
        self.branches.iter().map(place).collect()
    }

    /// The branches without those for which a condition of the query around it is false, because of a constant of theirs;
    /// at least one stays.
    unsafe fn without_excluded(
        self,
        around: *mut pg_sys::Query,
        number: usize,
        dropped: &mut Vec<SetAside>,
    ) -> Self {
        // SAFETY: valid queries that are ours to change.
        unsafe {
            let conditions = conditions_on(around, number);
            if conditions.is_empty() || self.branches.len() < 2 {
                return self;
            }
            let is_excluded = |&branch: &*mut pg_sys::Query| {
                conditions.iter().any(|&condition| is_false_for(condition, branch))
            };
            let (excluded, mut kept): (Vec<_>, Vec<_>) =
                self.branches.iter().copied().partition(is_excluded);
            if excluded.is_empty() {
                return self;
            }
            if kept.is_empty() {
                kept.push(excluded[0]);
            }
            let gone = excluded.into_iter().filter(|branch| !kept.contains(branch));
            dropped.extend(gone.map(SetAside::new));
            self.put(kept.clone());
            let numbers = self.numbers[..kept.len()].to_vec();
            Self { numbers, branches: kept, ..self }
        }
    }
}

/// Conditions of a query's WHERE on nothing but one of its entries that stands in FROM by itself, which mean the same
/// everywhere.
unsafe fn conditions_on(query: *mut pg_sys::Query, number: usize) -> Vec<*mut pg_sys::Node> {
    // SAFETY: a valid query; the casts follow the tags.
    unsafe {
        let from = (*query).jointree;
        let stands_alone = list::iter::<pg_sys::Node>((*from).fromlist).any(|item| {
            (*item).type_ == NodeTag::T_RangeTblRef
                && (*item.cast::<pg_sys::RangeTblRef>()).rtindex as usize == number
        });
        if !stands_alone || (*from).quals.is_null() {
            return Vec::new();
        }
        let all = pg_sys::make_ands_implicit((*from).quals.cast());
        list::iter::<pg_sys::Node>(all)
            .filter(|&one| part_query::means_the_same_everywhere(one, number as pg_sys::Index))
            .collect()
    }
}

struct Constants {
    branch: *mut pg_sys::Query,
    found: bool,
}

/// Whether a condition is false or NULL for all rows of a branch, because of its constants.
unsafe fn is_false_for(condition: *mut pg_sys::Node, branch: *mut pg_sys::Query) -> bool {
    unsafe extern "C-unwind" fn replace(
        node: *mut pg_sys::Node,
        context: *mut c_void,
    ) -> *mut pg_sys::Node {
        if node.is_null() {
            return node;
        }
        // SAFETY: PostgreSQL walks a valid tree; `context` is the Constants below; the casts follow the tags.
        unsafe {
            if (*node).type_ == NodeTag::T_Param
                && let Some(constant) = bound_params::constant(node.cast())
            {
                return constant.cast();
            }
            if (*node).type_ != NodeTag::T_Var {
                return expression_tree_mutator(node, replace, context);
            }
            let constants = &mut *context.cast::<Constants>();
            let number = (*node.cast::<pg_sys::Var>()).varattno;
            let mut columns = columns_of(constants.branch);
            let column = columns.find(|&column| (*column).resno == number);
            match column.map(|column| (*column).expr.cast::<pg_sys::Node>()) {
                Some(value) if (*value).type_ == NodeTag::T_Const => {
                    constants.found = true;
                    pg_sys::copyObjectImpl(value.cast()).cast()
                }
                _ => pg_sys::copyObjectImpl(node.cast()).cast(),
            }
        }
    }
    let mut constants = Constants { branch, found: false };
    // SAFETY: a valid condition; the context outlives the walk.
    unsafe {
        let replaced = replace(condition, (&raw mut constants).cast());
        if !constants.found {
            return false;
        }
        let value = pg_sys::eval_const_expressions(ptr::null_mut(), replaced);
        (*value).type_ == NodeTag::T_Const && {
            let value = &*value.cast::<pg_sys::Const>();
            value.constisnull || value.constvalue.value() == 0
        }
    }
}
