//! Aggregates over UNION ALL of several nodes' tables, computed in part on each node: only results of groups travel.
//!
//! Only aggregates whose parts combine to exactly what one server computes: count, sum and avg of integers and numeric, sum of
//! money and interval, min, max, and those of booleans and bits. Sums of floating-point numbers depend on the order of
//! addition, so their rows are fetched.

use crate::pg::tree::combination::{
    Combination, arguments_of, as_bigint, combination, divided, oids, sum,
};
use crate::pg::tree::make::node;
use crate::pg::tree::mutate::expression_tree_mutator;
use crate::pg::tree::union_branches::{UnionAll, groups, reference, subquery_entry, union_of};
use crate::pg::tree::{list, parse_nodes, part_query, subqueries};
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::ffi::{c_int, c_void};
use std::ptr;

/// What became of a query.
pub(in crate::pg::tree) struct Rewritten {
    /// Branches that stay here.
    pub here: Vec<*mut pg_sys::Query>,
    /// What the UNION ALL named besides its branches: the view that it is, whose privileges have to be checked.
    pub view: *mut pg_sys::Query,
}

/// Rewrites a query that aggregates nothing but the rows of entry `number`, which is this UNION ALL, whose branches have these
/// nodes. Gives what becomes of it, or None if it has to stay as it is.
///
/// # Safety
/// `query` is valid and ours to change, and has that entry.
pub(in crate::pg::tree) unsafe fn rewrite(
    query: *mut pg_sys::Query,
    number: usize,
    all: &UnionAll,
    branches: Vec<(*mut pg_sys::Query, Option<i32>)>,
    is_reduced: bool,
) -> Option<Rewritten> {
    // SAFETY: by the caller's promise; what is made are complete nodes.
    unsafe {
        if branches.iter().all(|(_, place)| place.is_none()) {
            return None;
        }
        // Branches that stay here are one group.
        let here: Vec<_> =
            branches.iter().filter(|(_, at)| at.is_none()).map(|(b, _)| *b).collect();
        let mut parts = groups(branches.into_iter().filter(|(_, at)| at.is_some()));
        if !here.is_empty() {
            parts.push((None, here.clone()));
        }
        // What stays here comes to lie deeper within the query, so it may not refer to the queries around it.
        let is_complete = |&branch: &*mut pg_sys::Query| subqueries::is_complete(branch);
        if parts.len() == 1 && !is_reduced || !here.iter().all(is_complete) {
            return None;
        }
        let work = Work::of(query, number)?;
        let queries: Vec<*mut pg_sys::Query> =
            parts.iter().map(|(_, group)| work.part_over(all.union_of(group))).collect();
        let like = work.columns_like();
        let combined = match queries.as_slice() {
            [alone] => *alone,
            several => union_of(several, like),
        };
        let names = subquery_entry(combined, "parts");
        let entry = list::nth::<pg_sys::RangeTblEntry>((*query).rtable, number - 1);
        let view = all.without_branches();
        (*entry).subquery = combined;
        (*entry).alias = ptr::null_mut();
        (*entry).eref = (*names).eref;
        (*(*query).jointree).quals = ptr::null_mut();
        (*query).targetList = work.combined_targets.cast();
        (*query).havingQual = work.combined_having;
        Some(Rewritten { here, view })
    }
}

struct Part {
    /// What a node computes.
    expression: *mut pg_sys::Expr,
    of_type: Oid,
    modifier: i32,
    collation: Oid,
}

impl Part {
    unsafe fn of(expression: *mut pg_sys::Node) -> Self {
        // SAFETY: a valid expression.
        unsafe {
            Self {
                expression: part_query::for_part(expression).cast(),
                of_type: pg_sys::exprType(expression),
                modifier: pg_sys::exprTypmod(expression),
                collation: pg_sys::exprCollation(expression),
            }
        }
    }

    unsafe fn var(&self, number: usize, column: usize) -> *mut pg_sys::Node {
        // SAFETY: a complete node.
        unsafe {
            let column = column as pg_sys::AttrNumber;
            pg_sys::makeVar(number as c_int, column, self.of_type, self.modifier, self.collation, 0)
                .cast()
        }
    }
}

/// What is computed where.
struct Work {
    query: *mut pg_sys::Query,
    /// The columns of the parts: first those that are grouped by.
    parts: Vec<Part>,
    keys: usize,
    combined_targets: *mut pg_sys::Node,
    combined_having: *mut pg_sys::Node,
}

impl Work {
    /// None if the query does more than that, or something else.
    unsafe fn of(query: *mut pg_sys::Query, number: usize) -> Option<Self> {
        // SAFETY: a valid query that is ours to change.
        unsafe {
            if !is_aggregate_over(query, number) {
                return None;
            }
            let relation = number as pg_sys::Index;
            let same = |node: *mut pg_sys::Node| {
                node.is_null() || part_query::means_the_same_everywhere(node, relation)
            };
            let conditions = pg_sys::make_ands_implicit((*(*query).jointree).quals.cast());
            if !list::iter::<pg_sys::Node>(conditions).all(same) {
                return None;
            }
            let (targets, having) = without_group_entry(query);
            let mut replacement =
                Replacement { number, known: Vec::new(), parts: Vec::new(), failed: false };
            for clause in list::iter::<pg_sys::SortGroupClause>((*query).groupClause) {
                let target = pg_sys::get_sortgroupclause_tle(clause, targets.cast());
                let key = (*target).expr.cast::<pg_sys::Node>();
                if !same(key) {
                    return None;
                }
                let part = Part::of(key);
                let var = part.var(number, replacement.parts.len() + 1);
                replacement.known.push((key, var));
                replacement.parts.push(part);
            }
            let keys = replacement.parts.len();
            let context = (&raw mut replacement).cast();
            let combined_targets = replace(targets, context);
            let combined_having = replace(having, context);
            if replacement.failed || replacement.parts.is_empty() {
                return None;
            }
            Some(Self { query, parts: replacement.parts, keys, combined_targets, combined_having })
        }
    }

    /// `SELECT parts FROM (branches) WHERE … GROUP BY …`.
    unsafe fn part_over(&self, branches: *mut pg_sys::Query) -> *mut pg_sys::Query {
        // SAFETY: a valid query; what is made are complete nodes and copies.
        unsafe {
            let part = node::<pg_sys::Query>(NodeTag::T_Query);
            (*part).commandType = pg_sys::CmdType::CMD_SELECT;
            (*part).canSetTag = true;
            (*part).hasAggs = self.parts.len() > self.keys;
            let entry = subquery_entry(branches, "branch");
            let columns = list::len((*(*entry).eref).colnames);
            let mut names: *mut pg_sys::List = ptr::null_mut();
            for i in 1..=columns {
                let name = parse_nodes::palloc_text(&format!("c{i}"));
                names = pg_sys::lappend(names, pg_sys::makeString(name).cast());
            }
            (*entry).eref = pg_sys::makeAlias(c"branch".as_ptr(), names);
            (*entry).alias = pg_sys::copyObjectImpl((*entry).eref.cast()).cast();
            (*entry).inFromCl = true;
            (*part).rtable = pg_sys::lappend(ptr::null_mut(), entry.cast());
            let from = pg_sys::lappend(ptr::null_mut(), reference(1).cast());
            let conditions = (*(*self.query).jointree).quals;
            let conditions = if conditions.is_null() {
                ptr::null_mut()
            } else {
                part_query::for_part(conditions)
            };
            (*part).jointree = pg_sys::makeFromExpr(from, conditions);
            for (i, column) in self.parts.iter().enumerate() {
                let number = i as pg_sys::AttrNumber + 1;
                let name = parse_nodes::palloc_text(&format!("p{number}"));
                let value = pg_sys::copyObjectImpl(column.expression.cast()).cast();
                let target = pg_sys::makeTargetEntry(value, number, name, false);
                if i < self.keys {
                    (*target).ressortgroupref = number as pg_sys::Index;
                }
                (*part).targetList = pg_sys::lappend((*part).targetList, target.cast());
            }
            let clauses = list::iter::<pg_sys::SortGroupClause>((*self.query).groupClause);
            for (i, clause) in clauses.enumerate() {
                let copy = pg_sys::copyObjectImpl(clause.cast()).cast::<pg_sys::SortGroupClause>();
                (*copy).tleSortGroupRef = i as pg_sys::Index + 1;
                (*part).groupClause = pg_sys::lappend((*part).groupClause, copy.cast());
            }
            part
        }
    }

    /// An operation that has the types of the parts' columns.
    unsafe fn columns_like(&self) -> *mut pg_sys::SetOperationStmt {
        // SAFETY: a complete node.
        unsafe {
            let like = node::<pg_sys::SetOperationStmt>(NodeTag::T_SetOperationStmt);
            for part in &self.parts {
                (*like).colTypes = pg_sys::lappend_oid((*like).colTypes, part.of_type);
                (*like).colTypmods = pg_sys::lappend_int((*like).colTypmods, part.modifier);
                (*like).colCollations = pg_sys::lappend_oid((*like).colCollations, part.collation);
            }
            like
        }
    }
}

/// Whether a query groups or aggregates the rows of one entry, and does nothing that other rows, or their order, would be
/// needed for.
unsafe fn is_aggregate_over(query: *mut pg_sys::Query, number: usize) -> bool {
    // SAFETY: a valid query; the cast follows the tag.
    unsafe {
        let q = &*query;
        let from = &*q.jointree;
        let alone = list::len(from.fromlist) == 1 && {
            let item = list::nth::<pg_sys::Node>(from.fromlist, 0);
            (*item).type_ == NodeTag::T_RangeTblRef
                && (*item.cast::<pg_sys::RangeTblRef>()).rtindex as usize == number
        };
        alone
            && q.commandType == pg_sys::CmdType::CMD_SELECT
            && (q.hasAggs || !q.groupClause.is_null())
            && q.groupingSets.is_null()
            && !q.groupDistinct
            && !q.hasWindowFuncs
            && !q.hasTargetSRFs
            && !q.hasSubLinks
            && q.cteList.is_null()
            && q.rowMarks.is_null()
            && q.setOperations.is_null()
    }
}

/// The target list and HAVING with the expressions that are grouped by in place; in version 18 these are columns of an entry of
/// their own, which is taken out of the query.
unsafe fn without_group_entry(query: *mut pg_sys::Query) -> (*mut pg_sys::Node, *mut pg_sys::Node) {
    // SAFETY: a valid query that is ours to change.
    unsafe {
        #[cfg(feature = "pg18")]
        if (*query).hasGroupRTE {
            let root = ptr::null_mut();
            let targets = pg_sys::flatten_group_exprs(root, query, (*query).targetList.cast());
            let having = pg_sys::flatten_group_exprs(root, query, (*query).havingQual);
            (*query).targetList = targets.cast();
            (*query).havingQual = having;
            (*query).hasGroupRTE = false;
            for entry in list::iter::<pg_sys::RangeTblEntry>((*query).rtable) {
                if (*entry).rtekind == pg_sys::RTEKind::RTE_GROUP {
                    (*entry).rtekind = pg_sys::RTEKind::RTE_RESULT;
                    (*entry).groupexprs = ptr::null_mut();
                    (*(*entry).eref).colnames = ptr::null_mut();
                }
            }
        }
        ((*query).targetList.cast(), (*query).havingQual)
    }
}

/// Puts columns of the parts in the place of what was computed from the rows.
struct Replacement {
    number: usize,
    /// Expressions over the rows, and what replaces them.
    known: Vec<(*mut pg_sys::Node, *mut pg_sys::Node)>,
    parts: Vec<Part>,
    failed: bool,
}

unsafe extern "C-unwind" fn replace(
    node: *mut pg_sys::Node,
    context: *mut c_void,
) -> *mut pg_sys::Node {
    if node.is_null() {
        return node;
    }
    // SAFETY: PostgreSQL walks a valid tree; `context` is a Replacement; the casts follow the tags.
    unsafe {
        let replacement = &mut *context.cast::<Replacement>();
        if replacement.failed {
            return node;
        }
        let known = replacement.known.iter();
        let known = known.clone().find(|(old, _)| pg_sys::equal(old.cast(), node.cast()));
        if let Some(&(_, new)) = known {
            return pg_sys::copyObjectImpl(new.cast()).cast();
        }
        match (*node).type_ {
            NodeTag::T_Aggref => match replacement.combined(&mut *node.cast::<pg_sys::Aggref>()) {
                Some(new) => {
                    replacement.known.push((node, new));
                    new
                }
                None => {
                    replacement.failed = true;
                    node
                }
            },
            NodeTag::T_Var
            | NodeTag::T_SubLink
            | NodeTag::T_GroupingFunc
            | NodeTag::T_WindowFunc => {
                replacement.failed = true;
                node
            }
            _ => expression_tree_mutator(node, replace, context),
        }
    }
}

impl Replacement {
    /// The combination of an aggregate's parts, which are added.
    unsafe fn combined(&mut self, aggregate: &mut pg_sys::Aggref) -> Option<*mut pg_sys::Node> {
        // SAFETY: a valid aggregate; what is made are complete nodes.
        unsafe {
            let how = combination(aggregate)?;
            let relation = self.number as pg_sys::Index;
            let same = |node: *mut pg_sys::Node| {
                node.is_null() || part_query::means_the_same_everywhere(node, relation)
            };
            let mut arguments = list::iter::<pg_sys::TargetEntry>(aggregate.args);
            if !arguments.all(|argument| same((*argument).expr.cast()))
                || !same(aggregate.aggfilter.cast())
            {
                return None;
            }
            let copy =
                || pg_sys::copyObjectImpl(ptr::from_ref(aggregate).cast()).cast::<pg_sys::Aggref>();
            Some(match how {
                Combination::Itself => {
                    let part = self.add(copy());
                    let whole = copy();
                    (*whole).aggfilter = ptr::null_mut();
                    (*whole).args = arguments_of(part);
                    whole.cast()
                }
                Combination::Bigint => as_bigint(sum(self.add(copy()))),
                Combination::Sum => sum(self.add(copy())),
                Combination::Average { sum: function } => {
                    let of_values = copy();
                    (*of_values).aggfnoid = Oid::from(function);
                    (*of_values).aggtype = pg_sys::get_func_rettype(Oid::from(function));
                    let of_rows = copy();
                    (*of_rows).aggfnoid = Oid::from(oids::COUNT_ANY);
                    (*of_rows).aggtype = pg_sys::INT8OID;
                    divided(sum(self.add(of_values)), sum(self.add(of_rows)))
                }
            })
        }
    }

    /// Adds a part; gives the column that has it.
    unsafe fn add(&mut self, aggregate: *mut pg_sys::Aggref) -> *mut pg_sys::Node {
        // SAFETY: a valid aggregate.
        unsafe {
            let part = Part::of(aggregate.cast());
            let var = part.var(self.number, self.parts.len() + 1);
            self.parts.push(part);
            var
        }
    }
}
