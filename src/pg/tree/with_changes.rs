//! WITH queries that change rows: what each changes, and how one that changes another place is taken out of its statement.

use crate::pg::tree::make::node;
use crate::pg::tree::set_aside::{self, SetAside};
use crate::pg::tree::{QueryTree, list, parse_nodes, subqueries};
use pgrx::pg_sys::{self, NodeTag, Oid};

/// A WITH query that changes rows.
pub struct Change<'a> {
    /// Its number in the WITH list, from 0.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// The query.
    pub query: QueryTree<'a>,
    /// The table that it changes.
    pub target: Oid,
    /// Nothing in it refers to the rest of the statement.
    pub is_closed: bool,
}

/// The table that a query itself changes.
pub fn target(query: QueryTree<'_>) -> Option<Oid> {
    // SAFETY: a valid query: its result relation is a number of its range table.
    unsafe {
        let query = query.as_ptr();
        let number = (*query).resultRelation as usize;
        (number > 0)
            .then(|| (*list::nth::<pg_sys::RangeTblEntry>((*query).rtable, number - 1)).relid)
    }
}

/// The WITH queries of a statement that change rows.
pub fn of<'a>(statement: QueryTree<'a>) -> Vec<Change<'a>> {
    let mut found = Vec::new();
    // SAFETY: a valid query, whose list is of CommonTableExpr, each with an analyzed query.
    unsafe {
        let ctes = list::iter::<pg_sys::CommonTableExpr>((*statement.as_ptr()).cteList);
        for (index, cte) in ctes.enumerate() {
            let tree = (*cte).ctequery.cast::<pg_sys::Query>();
            if let Some(query) = QueryTree::new(tree)
                && let Some(target) = target(query)
            {
                let name = parse_nodes::text((*cte).ctename).unwrap_or_default();
                let is_closed = subqueries::is_closed(tree);
                found.push(Change { index, name, query, target, is_closed });
            }
        }
    }
    found
}

/// A copy of a statement in which the WITH query with this number does nothing.
pub fn without<'a>(statement: QueryTree<'a>, index: usize) -> Option<QueryTree<'a>> {
    // SAFETY: a valid query; the copy lives as long as the planner's memory, as the statement does.
    unsafe {
        let copy = pg_sys::copyObjectImpl(statement.as_ptr().cast()).cast::<pg_sys::Query>();
        let cte = list::nth::<pg_sys::CommonTableExpr>((*copy).cteList, index);
        let nothing = node::<pg_sys::Query>(NodeTag::T_Query);
        (*nothing).commandType = pg_sys::CmdType::CMD_SELECT;
        (*cte).ctequery = nothing.cast();
        QueryTree::new(copy)
    }
}

/// Takes a WITH query that changes rows out of a statement: it runs first, and the statement reads its rows, or none. `function`
/// is as for [`set_aside::set_aside`].
pub fn run_first(statement: QueryTree<'_>, change: &Change<'_>, function: Oid) -> SetAside {
    // SAFETY: a valid query, which the caller lets us change.
    unsafe {
        let query = statement.as_ptr();
        let cte = list::nth::<pg_sys::CommonTableExpr>((*query).cteList, change.index);
        let inner = change.query.as_ptr();
        subqueries::return_something(inner);
        (*cte).ctequery = set_aside::replacement(inner, function).cast();
        // One that nothing refers to is planned as well, so that its part is there.
        (*cte).ctematerialized = pg_sys::CTEMaterialize::CTEMaterializeAlways;
        (*cte).cterefcount = (*cte).cterefcount.max(1);
        SetAside::new(inner)
    }
}
