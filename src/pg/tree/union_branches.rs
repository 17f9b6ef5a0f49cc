//! UNION ALL as a list of branches: taken apart, grouped and put together again.

use crate::pg::tree::make::node;
use crate::pg::tree::{list, parse_nodes};
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::ptr;

/// A query that is UNION ALL of others, all of them with the same types.
#[derive(Clone)]
pub(in crate::pg::tree) struct UnionAll {
    /// The query itself.
    pub query: *mut pg_sys::Query,
    /// The operation at the top.
    pub top: *mut pg_sys::SetOperationStmt,
    /// The branches' numbers in the range table.
    pub numbers: Vec<usize>,
    /// The branches.
    pub branches: Vec<*mut pg_sys::Query>,
}

impl UnionAll {
    /// # Safety
    /// `query` is valid.
    pub(in crate::pg::tree) unsafe fn of(query: *mut pg_sys::Query) -> Option<Self> {
        // SAFETY: by the caller's promise; the casts follow the tags.
        unsafe {
            let top = (*query).setOperations.cast::<pg_sys::SetOperationStmt>();
            if top.is_null()
                || (*top).type_ != NodeTag::T_SetOperationStmt
                || (*query).commandType != pg_sys::CmdType::CMD_SELECT
                || !(*query).cteList.is_null()
                || !(*query).rowMarks.is_null()
            {
                return None;
            }
            let mut numbers = Vec::new();
            // Not recursive: there may be thousands.
            let mut rest: Vec<*mut pg_sys::Node> = vec![top.cast()];
            while let Some(member) = rest.pop() {
                if (*member).type_ == NodeTag::T_RangeTblRef {
                    numbers.push((*member.cast::<pg_sys::RangeTblRef>()).rtindex as usize);
                    continue;
                }
                let operation = &*member.cast::<pg_sys::SetOperationStmt>();
                let is_union = operation.op == pg_sys::SetOperation::SETOP_UNION && operation.all;
                if !is_union || !pg_sys::equal(operation.colTypes.cast(), (*top).colTypes.cast()) {
                    return None;
                }
                rest.push(operation.rarg);
                rest.push(operation.larg);
            }
            let types: Vec<Oid> = list::oids((*top).colTypes).collect();
            let mut branches = Vec::new();
            for &number in &numbers {
                let entry = list::nth::<pg_sys::RangeTblEntry>((*query).rtable, number - 1);
                if (*entry).rtekind != pg_sys::RTEKind::RTE_SUBQUERY {
                    return None;
                }
                let columns = columns_of((*entry).subquery);
                let own = columns.map(|column| pg_sys::exprType((*column).expr.cast()));
                if !own.eq(types.iter().copied()) {
                    return None;
                }
                branches.push((*entry).subquery);
            }
            Some(Self { query, top, numbers, branches })
        }
    }

    /// Whether the query has nothing of its own, such as LIMIT.
    pub(in crate::pg::tree) fn is_bare(&self) -> bool {
        // SAFETY: a valid query.
        let query = unsafe { &*self.query };
        query.sortClause.is_null() && query.limitCount.is_null() && query.limitOffset.is_null()
    }

    /// The branches, those of one node as one.
    ///
    /// # Safety
    /// There is a place for each branch.
    pub(in crate::pg::tree) unsafe fn grouped(
        &self,
        places: &[Option<i32>],
    ) -> Vec<*mut pg_sys::Query> {
        let mut groups = groups(self.branches.iter().copied().zip(places.iter().copied()));
        if groups.len() == 1 {
            // The whole query can run there.
            return self.branches.clone();
        }
        // SAFETY: branches of one query.
        unsafe { groups.iter_mut().map(|(_, group)| self.union_of(group)).collect() }
    }

    /// Some of the branches as one query.
    ///
    /// # Safety
    /// They are branches of this query, at least one.
    pub(in crate::pg::tree) unsafe fn union_of(
        &self,
        branches: &[*mut pg_sys::Query],
    ) -> *mut pg_sys::Query {
        // SAFETY: by the caller's promise.
        unsafe {
            match branches {
                [alone] => *alone,
                _ => union_of(branches, self.top),
            }
        }
    }

    /// A query with nothing but the relations that this one names besides its branches.
    ///
    /// # Safety
    /// The query is valid.
    pub(in crate::pg::tree) unsafe fn without_branches(&self) -> *mut pg_sys::Query {
        // SAFETY: by the caller's promise; a complete node, with copies.
        unsafe {
            let rest = node::<pg_sys::Query>(NodeTag::T_Query);
            (*rest).commandType = pg_sys::CmdType::CMD_SELECT;
            (*rest).jointree = pg_sys::makeFromExpr(ptr::null_mut(), ptr::null_mut());
            for entry in list::iter::<pg_sys::RangeTblEntry>((*self.query).rtable) {
                if (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION {
                    let copy = pg_sys::copyObjectImpl(entry.cast());
                    (*rest).rtable = pg_sys::lappend((*rest).rtable, copy);
                }
            }
            #[cfg(not(feature = "pg15"))]
            {
                (*rest).rteperminfos =
                    pg_sys::copyObjectImpl((*self.query).rteperminfos.cast()).cast();
            }
            rest
        }
    }

    /// Makes these the branches, at most as many as there are. The first one keeps its number, by which the query's columns are
    /// known.
    ///
    /// # Safety
    /// They have this query's columns; the query is ours to change.
    pub(in crate::pg::tree) unsafe fn put(&self, branches: Vec<*mut pg_sys::Query>) {
        // SAFETY: nodes of a query that is ours to change.
        unsafe {
            if branches.len() == self.branches.len() {
                return;
            }
            let entry = |number: usize| {
                list::nth::<pg_sys::RangeTblEntry>((*self.query).rtable, number - 1)
            };
            for (i, &number) in self.numbers.iter().enumerate() {
                let entry = entry(number);
                match branches.get(i) {
                    Some(&branch) => (*entry).subquery = branch,
                    None => {
                        (*entry).rtekind = pg_sys::RTEKind::RTE_RESULT;
                        (*entry).subquery = ptr::null_mut();
                        (*(*entry).eref).colnames = ptr::null_mut();
                    }
                }
            }
            let numbers = &self.numbers[..branches.len()];
            if let [alone] = numbers {
                (*self.query).setOperations = ptr::null_mut();
                (*entry(*alone)).inFromCl = true;
                let from = pg_sys::lappend(ptr::null_mut(), reference(*alone).cast());
                (*self.query).jointree = pg_sys::makeFromExpr(from, ptr::null_mut());
            } else {
                (*self.query).setOperations = chain(numbers, self.top);
            }
        }
    }
}

/// The columns of a query that others see.
///
/// # Safety
/// `query` is valid, and is not changed meanwhile.
pub(in crate::pg::tree) unsafe fn columns_of(
    query: *mut pg_sys::Query,
) -> impl Iterator<Item = *mut pg_sys::TargetEntry> {
    // SAFETY: a valid query.
    unsafe {
        list::iter::<pg_sys::TargetEntry>((*query).targetList).filter(|&column| !(*column).resjunk)
    }
}

/// Branches of one node together, the others one by one.
pub(in crate::pg::tree) fn groups(
    branches: impl Iterator<Item = (*mut pg_sys::Query, Option<i32>)>,
) -> Vec<(Option<i32>, Vec<*mut pg_sys::Query>)> {
    let mut groups: Vec<(Option<i32>, Vec<*mut pg_sys::Query>)> = Vec::new();
    for (branch, place) in branches {
        let known = groups.iter_mut().find(|(known, _)| place.is_some() && *known == place);
        match known {
            Some((_, members)) => members.push(branch),
            None => groups.push((place, vec![branch])),
        }
    }
    groups
}

/// `SELECT … UNION ALL SELECT …`, with the types of `like`.
///
/// # Safety
/// The queries have these types; at least two.
pub(in crate::pg::tree) unsafe fn union_of(
    branches: &[*mut pg_sys::Query],
    like: *const pg_sys::SetOperationStmt,
) -> *mut pg_sys::Query {
    // SAFETY: by the caller's promise; what is made are complete nodes.
    unsafe {
        let query = node::<pg_sys::Query>(NodeTag::T_Query);
        (*query).commandType = pg_sys::CmdType::CMD_SELECT;
        (*query).canSetTag = true;
        (*query).jointree = pg_sys::makeFromExpr(ptr::null_mut(), ptr::null_mut());
        for (i, &branch) in branches.iter().enumerate() {
            let name = format!("*SELECT* {}", i + 1);
            let entry = subquery_entry(branch, &name);
            (*query).rtable = pg_sys::lappend((*query).rtable, entry.cast());
        }
        let numbers: Vec<usize> = (1..=branches.len()).collect();
        (*query).setOperations = chain(&numbers, like);
        let collations: Vec<Oid> = list::oids((*like).colCollations).collect();
        let modifiers: Vec<i32> = list::integers((*like).colTypmods).collect();
        for (i, column) in columns_of(branches[0]).enumerate() {
            let number = i as pg_sys::AttrNumber + 1;
            let of_type = pg_sys::exprType((*column).expr.cast());
            let var = pg_sys::makeVar(1, number, of_type, modifiers[i], collations[i], 0);
            let target = pg_sys::makeTargetEntry(var.cast(), number, (*column).resname, false);
            (*query).targetList = pg_sys::lappend((*query).targetList, target.cast());
        }
        query
    }
}

/// A range table entry for a subquery, with the names of its columns.
///
/// # Safety
/// `query` is a valid SELECT.
pub(in crate::pg::tree) unsafe fn subquery_entry(
    query: *mut pg_sys::Query,
    name: &str,
) -> *mut pg_sys::RangeTblEntry {
    // SAFETY: by the caller's promise.
    unsafe {
        let entry = node::<pg_sys::RangeTblEntry>(NodeTag::T_RangeTblEntry);
        (*entry).rtekind = pg_sys::RTEKind::RTE_SUBQUERY;
        (*entry).subquery = query;
        let mut names: *mut pg_sys::List = ptr::null_mut();
        for (i, column) in columns_of(query).enumerate() {
            let name =
                parse_nodes::text((*column).resname).unwrap_or_else(|| format!("c{}", i + 1));
            let name = parse_nodes::palloc_text(&name);
            names = pg_sys::lappend(names, pg_sys::makeString(name).cast());
        }
        (*entry).eref = pg_sys::makeAlias(parse_nodes::palloc_text(name), names);
        entry
    }
}

/// A reference to an entry of the range table.
///
/// # Safety
/// In the planner's memory context.
pub(in crate::pg::tree) unsafe fn reference(number: usize) -> *mut pg_sys::RangeTblRef {
    // SAFETY: a complete node.
    unsafe {
        let reference = node::<pg_sys::RangeTblRef>(NodeTag::T_RangeTblRef);
        (*reference).rtindex = number as i32;
        reference
    }
}

/// The operations that put entries with these numbers together.
unsafe fn chain(numbers: &[usize], like: *const pg_sys::SetOperationStmt) -> *mut pg_sys::Node {
    // SAFETY: `like` is valid; its lists are shared by nobody who changes them.
    unsafe {
        let mut tree = reference(numbers[0]).cast::<pg_sys::Node>();
        for &number in &numbers[1..] {
            let operation = node::<pg_sys::SetOperationStmt>(NodeTag::T_SetOperationStmt);
            (*operation).op = pg_sys::SetOperation::SETOP_UNION;
            (*operation).all = true;
            (*operation).larg = tree;
            (*operation).rarg = reference(number).cast();
            (*operation).colTypes = (*like).colTypes;
            (*operation).colTypmods = (*like).colTypmods;
            (*operation).colCollations = (*like).colCollations;
            tree = operation.cast();
        }
        tree
    }
}
