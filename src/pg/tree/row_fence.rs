//! Rows that a plan made here may have to look at again, because somebody else has changed the row that it is about to change
//! or lock (EvalPlanQual).
//!
//! PostgreSQL fetches such rows again by their place in a table, which is none here for tables that are elsewhere. From a
//! subquery it keeps copies of whole rows instead, so each such table is made a subquery of its own, and a query that was set
//! aside stays one.

use crate::error::Result;
use crate::pg::catalog::types::tuple_attribute;
use crate::pg::tree::make::node;
use crate::pg::tree::survey::{expression_tree_walker, query_tree_walker};
use crate::pg::tree::{QueryTree, list, set_aside};
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::ffi::{c_int, c_void};
use std::ptr;

/// Makes a subquery of each table in `query`, at any depth, that `is_elsewhere` and that no query changes; changes the tree.
/// Nothing is done to a query that neither changes nor locks rows.
pub fn keep_copies(
    query: QueryTree<'_>,
    is_elsewhere: &mut dyn FnMut(Oid) -> Result<bool>,
) -> Result<()> {
    let mut queries = Queries { all: Vec::new(), rechecks: false };
    // SAFETY: a valid query, which the caller lets us change; the context outlives the walk.
    unsafe {
        collect_queries(query.as_ptr().cast(), (&raw mut queries).cast());
        if !queries.rechecks {
            return Ok(());
        }
        for query in queries.all {
            if is_of_part(query) {
                (*query).cteList = pg_sys::lappend((*query).cteList, unused_cte().cast());
                continue;
            }
            for number in 1..=list::len((*query).rtable) {
                let entry = list::nth::<pg_sys::RangeTblEntry>((*query).rtable, number - 1);
                let is_target = (*query).resultRelation as usize == number;
                if (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION
                    && (*entry).inFromCl
                    && !is_target
                    && is_elsewhere((*entry).relid)?
                {
                    let inner = wrap(query, number, entry);
                    (*inner).cteList = pg_sys::lappend((*inner).cteList, unused_cte().cast());
                }
            }
        }
    }
    Ok(())
}

/// Whether a query does nothing but to select from one that was set aside.
unsafe fn is_of_part(query: *mut pg_sys::Query) -> bool {
    // SAFETY: a valid query.
    unsafe {
        list::len((*query).rtable) == 1
            && set_aside::of_entry(list::nth::<pg_sys::RangeTblEntry>((*query).rtable, 0)).is_some()
    }
}

struct Queries {
    all: Vec<*mut pg_sys::Query>,
    /// One of them changes rows that were there before, or locks some.
    rechecks: bool,
}

unsafe extern "C-unwind" fn collect_queries(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    use pg_sys::CmdType::{CMD_INSERT, CMD_SELECT};
    if node.is_null() {
        return false;
    }
    // SAFETY: PostgreSQL walks a valid tree; `context` is the Queries of `keep_copies`; the cast follows the tag.
    unsafe {
        if (*node).type_ != NodeTag::T_Query {
            return expression_tree_walker(node, collect_queries, context);
        }
        let query = node.cast::<pg_sys::Query>();
        let queries = &mut *context.cast::<Queries>();
        queries.rechecks |= !matches!((*query).commandType, CMD_SELECT | CMD_INSERT)
            || !(*query).rowMarks.is_null();
        queries.all.push(query);
        query_tree_walker(query, collect_queries, context, 0)
    }
}

/// Makes a subquery of the entry with this number, and returns it: `SELECT` of all columns, under the same numbers, and behind
/// them of the system columns and the whole row, if the query uses them.
///
/// # Safety
/// The query is valid and ours to change; the entry, one of its range table, is a table's.
pub(super) unsafe fn wrap(
    query: *mut pg_sys::Query,
    number: usize,
    entry: *mut pg_sys::RangeTblEntry,
) -> *mut pg_sys::Query {
    // SAFETY: nodes of a valid query that is ours to change; the table is locked.
    unsafe {
        let inner = node::<pg_sys::Query>(NodeTag::T_Query);
        (*inner).commandType = pg_sys::CmdType::CMD_SELECT;
        (*inner).canSetTag = true;
        let table = pg_sys::copyObjectImpl(entry.cast()).cast::<pg_sys::RangeTblEntry>();
        // Conditions of policies are those of the only table, then.
        pg_sys::ChangeVarNodes((*table).securityQuals.cast(), number as c_int, 1, 0);
        (*inner).hasRowSecurity = (*query).hasRowSecurity;
        (*inner).hasSubLinks = (*query).hasSubLinks;
        (*inner).rtable = pg_sys::lappend(ptr::null_mut(), table.cast());
        #[cfg(not(feature = "pg15"))]
        if (*entry).perminfoindex > 0 {
            let info = list::nth::<pg_sys::Node>(
                (*query).rteperminfos,
                (*entry).perminfoindex as usize - 1,
            );
            let info = pg_sys::copyObjectImpl(info.cast());
            (*inner).rteperminfos = pg_sys::lappend(ptr::null_mut(), info);
            (*table).perminfoindex = 1;
        }
        let reference = node::<pg_sys::RangeTblRef>(NodeTag::T_RangeTblRef);
        (*reference).rtindex = 1;
        let from = pg_sys::lappend(ptr::null_mut(), reference.cast());
        (*inner).jointree = pg_sys::makeFromExpr(from, ptr::null_mut());
        (*inner).targetList = columns((*entry).relid, selected_columns(query, entry));
        (*entry).securityQuals = ptr::null_mut();
        number_row_references(query, number, entry, inner);

        (*entry).rtekind = pg_sys::RTEKind::RTE_SUBQUERY;
        (*entry).subquery = inner;
        (*entry).relid = Oid::INVALID;
        (*entry).relkind = 0;
        (*entry).rellockmode = 0;
        (*entry).inh = false;
        (*entry).tablesample = ptr::null_mut();
        (*entry).values_lists = ptr::null_mut();
        #[cfg(feature = "pg15")]
        {
            (*entry).requiredPerms = 0;
            (*entry).checkAsUser = Oid::INVALID;
            (*entry).selectedCols = ptr::null_mut();
        }
        #[cfg(not(feature = "pg15"))]
        {
            (*entry).perminfoindex = 0;
        }
        inner
    }
}

/// The planner merges a simple subquery with the query around it, but none with a WITH list. A WITH query that nothing reads is
/// not run.
unsafe fn unused_cte() -> *mut pg_sys::CommonTableExpr {
    // SAFETY: complete nodes.
    unsafe {
        let nothing = node::<pg_sys::Query>(NodeTag::T_Query);
        (*nothing).commandType = pg_sys::CmdType::CMD_SELECT;
        (*nothing).canSetTag = true;
        (*nothing).jointree = pg_sys::makeFromExpr(ptr::null_mut(), ptr::null_mut());
        let cte = node::<pg_sys::CommonTableExpr>(NodeTag::T_CommonTableExpr);
        (*cte).ctename = crate::pg::tree::parse_nodes::palloc_text("unused");
        (*cte).ctequery = nothing.cast();
        cte
    }
}

/// The columns that a query reads of an entry, all if that is unknown: a set of their numbers as privileges have it.
#[cfg_attr(feature = "pg15", allow(unused_variables, reason = "the entry itself has it"))]
unsafe fn selected_columns(
    query: *mut pg_sys::Query,
    entry: *mut pg_sys::RangeTblEntry,
) -> Option<*mut pg_sys::Bitmapset> {
    // SAFETY: a valid query and an entry of its range table, whose privileges are in the query's list.
    unsafe {
        #[cfg(feature = "pg15")]
        let (wanted, selected) = ((*entry).requiredPerms, (*entry).selectedCols);
        #[cfg(not(feature = "pg15"))]
        let (wanted, selected) = match (*entry).perminfoindex {
            0 => (0, ptr::null_mut()),
            index => {
                let infos = (*query).rteperminfos;
                let info = list::nth::<pg_sys::RTEPermissionInfo>(infos, index as usize - 1);
                ((*info).requiredPerms, (*info).selectedCols)
            }
        };
        let whole_row = -pg_sys::FirstLowInvalidHeapAttributeNumber;
        (wanted & pg_sys::ACL_SELECT as pg_sys::AclMode != 0
            && !pg_sys::bms_is_member(whole_row, selected))
        .then_some(selected)
    }
}

/// A target list of all columns, where one that is dropped or not among those `selected` is NULL: no privilege is needed for it.
unsafe fn columns(relation: Oid, selected: Option<*mut pg_sys::Bitmapset>) -> *mut pg_sys::List {
    // SAFETY: the relation is locked; its descriptor is read while it is open; a valid set.
    unsafe {
        let opened = pg_sys::relation_open(relation, pg_sys::NoLock as c_int);
        let descriptor = (*opened).rd_att;
        let mut targets: *mut pg_sys::List = ptr::null_mut();
        for i in 0..(*descriptor).natts as usize {
            let attribute = &*tuple_attribute(descriptor, i);
            let number = attribute.attnum;
            let value: *mut pg_sys::Expr = if attribute.attisdropped {
                pg_sys::makeNullConst(pg_sys::INT4OID, -1, Oid::INVALID).cast()
            } else if selected.is_some_and(|selected| {
                let member = c_int::from(number) - pg_sys::FirstLowInvalidHeapAttributeNumber;
                !pg_sys::bms_is_member(member, selected)
            }) {
                let (of_type, modifier) = (attribute.atttypid, attribute.atttypmod);
                pg_sys::makeNullConst(of_type, modifier, attribute.attcollation).cast()
            } else {
                let (of_type, modifier) = (attribute.atttypid, attribute.atttypmod);
                pg_sys::makeVar(1, number, of_type, modifier, attribute.attcollation, 0).cast()
            };
            let name = pg_sys::pstrdup(attribute.attname.data.as_ptr());
            let column = pg_sys::makeTargetEntry(value, number, name, false);
            targets = pg_sys::lappend(targets, column.cast());
        }
        pg_sys::relation_close(opened, pg_sys::NoLock as c_int);
        targets
    }
}

/// What [`renumber`] looks for.
struct Numbering {
    number: c_int,
    entry: *mut pg_sys::RangeTblEntry,
    /// How many queries the walk is below the one with the entry.
    depth: pg_sys::Index,
    /// The subquery, which gets a column for each system column and for the whole row.
    inner: *mut pg_sys::Query,
    /// Their numbers in the table, with those of the columns.
    known: Vec<(pg_sys::AttrNumber, pg_sys::AttrNumber)>,
}

/// Gives the subquery a column for each system column of the table that the query uses, and for the whole row: to PostgreSQL, the
/// whole row of a subquery is a record, which is not the table's row type.
unsafe fn number_row_references(
    query: *mut pg_sys::Query,
    number: usize,
    entry: *mut pg_sys::RangeTblEntry,
    inner: *mut pg_sys::Query,
) {
    let number = number as c_int;
    let mut numbering = Numbering { number, entry, depth: 0, inner, known: Vec::new() };
    // SAFETY: a valid query that is ours to change; the context outlives the walk.
    unsafe { query_tree_walker(query, renumber, (&raw mut numbering).cast(), 0) };
}

unsafe extern "C-unwind" fn renumber(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: PostgreSQL walks a valid tree that is ours to change; `context` is that of `number_row_references`; the casts
    // follow the tags.
    unsafe {
        let numbering = &mut *context.cast::<Numbering>();
        match (*node).type_ {
            NodeTag::T_Query => {
                numbering.depth += 1;
                let stopped = query_tree_walker(node.cast(), renumber, context, 0);
                (*context.cast::<Numbering>()).depth -= 1;
                stopped
            }
            NodeTag::T_Var => {
                let var = &mut *node.cast::<pg_sys::Var>();
                if var.varlevelsup == numbering.depth
                    && var.varno as c_int == numbering.number
                    && var.varattno <= 0
                {
                    var.varattno = column_for(numbering, var);
                    var.varnosyn = 0;
                    var.varattnosyn = 0;
                }
                false
            }
            _ => expression_tree_walker(node, renumber, context),
        }
    }
}

unsafe fn column_for(numbering: &mut Numbering, var: &pg_sys::Var) -> pg_sys::AttrNumber {
    let known = numbering.known.iter().find(|(number, _)| *number == var.varattno);
    if let Some(&(_, column)) = known {
        return column;
    }
    // SAFETY: the subquery and its entry are ours to change; the entry names a table's columns in a list of its own.
    unsafe {
        let targets = (*numbering.inner).targetList;
        let column = list::len(targets) as pg_sys::AttrNumber + 1;
        let value = pg_sys::makeVar(1, var.varattno, var.vartype, var.vartypmod, var.varcollid, 0);
        let name = || crate::pg::tree::parse_nodes::palloc_text("row_reference");
        let target = pg_sys::makeTargetEntry(value.cast(), column, name(), false);
        (*numbering.inner).targetList = pg_sys::lappend(targets, target.cast());
        // The planner takes the number of an entry's names for that of its columns.
        let names = &mut (*(*numbering.entry).eref).colnames;
        *names = pg_sys::lappend(*names, pg_sys::makeString(name()).cast());
        numbering.known.push((var.varattno, column));
        column
    }
}
