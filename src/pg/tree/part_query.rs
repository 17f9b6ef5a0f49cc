//! The query by which a plan made here asks a node for the rows of one relation: the columns that the plan needs, and the
//! conditions that mean the same on every server.

use crate::pg::catalog::object::FIRST_USER_OID;
use crate::pg::tree::function_rules::NoRules;
use crate::pg::tree::make::node;
use crate::pg::tree::plain_types::is_plain;
use crate::pg::tree::survey::{expression_tree_walker, survey_expression};
use crate::pg::tree::{list, masked_names, row_locks, set_aside};
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::ffi::{c_int, c_void};
use std::ptr;

/// The query, and what of the plan is left to this server.
pub(in crate::pg) struct PartQuery {
    /// `SELECT columns FROM relation WHERE conditions`, with names of its own for the columns.
    pub query: *mut pg_sys::Query,
    /// What each column is in the plan: a list of TargetEntry.
    pub columns: *mut pg_sys::List,
    /// Conditions that are tested here: a list of expressions.
    pub conditions_here: *mut pg_sys::List,
    /// Number of parameters that the query may refer to.
    pub params: i32,
}

/// Makes the query for the relation, or the query that was set aside, with `number` of the range table, whose entry is `entry`. `needed` (a list of expressions)
/// is what the plan makes of its rows, `clauses` (a list of RestrictInfo) are their conditions.
///
/// # Safety
/// All of them belong to the planner's run that is under way.
pub(in crate::pg) unsafe fn of_relation(
    number: pg_sys::Index,
    entry: *mut pg_sys::RangeTblEntry,
    needed: *mut pg_sys::List,
    clauses: *mut pg_sys::List,
) -> PartQuery {
    // SAFETY: by the caller's promise. What is changed are copies of our own.
    unsafe {
        let mut there: *mut pg_sys::List = ptr::null_mut();
        let mut here: *mut pg_sys::List = ptr::null_mut();
        let clauses = pg_sys::extract_actual_clauses(clauses, false);
        for clause in list::iter::<pg_sys::Node>(clauses) {
            if means_the_same_everywhere(clause, number) {
                there = pg_sys::lappend(there, for_part(clause).cast());
            } else {
                here = pg_sys::lappend(here, clause.cast());
            }
        }
        let (columns, selected) = columns(number, (*entry).relid, needed, here);
        let query = node::<pg_sys::Query>(NodeTag::T_Query);
        (*query).commandType = pg_sys::CmdType::CMD_SELECT;
        (*query).canSetTag = true;
        (*query).targetList = selected;
        (*query).rtable = pg_sys::lappend(ptr::null_mut(), relation_alone(entry).cast());
        let reference = node::<pg_sys::RangeTblRef>(NodeTag::T_RangeTblRef);
        (*reference).rtindex = 1;
        let from = pg_sys::lappend(ptr::null_mut(), reference.cast());
        if let Some(lock) = row_locks::of_entry(entry) {
            let lock = pg_sys::copyObjectImpl(lock.cast()).cast::<pg_sys::RowMarkClause>();
            (*lock).rti = 1;
            (*lock).pushedDown = false;
            (*query).rowMarks = pg_sys::lappend(ptr::null_mut(), lock.cast());
            (*query).hasForUpdate = true;
        }
        let quals =
            if there.is_null() { ptr::null_mut() } else { pg_sys::make_ands_explicit(there) };
        (*query).jointree = pg_sys::makeFromExpr(from, quals.cast());
        let params = survey_expression::<NoRules>(query.cast()).params.iter().map(|p| p.id).max();
        PartQuery { query, columns, conditions_here: here, params: params.unwrap_or(0) }
    }
}

/// The relation's entry, or that of a query that was set aside, as the only one of a query. A query that gives the columns of a
/// table is the table: of that, privileges are needed for nothing but the columns that are read.
unsafe fn relation_alone(entry: *mut pg_sys::RangeTblEntry) -> *mut pg_sys::RangeTblEntry {
    // SAFETY: a valid entry; the copy is ours to change.
    unsafe {
        let table = set_aside::of_entry(entry).and_then(|query| set_aside::whole_table(query));
        let entry = table.unwrap_or(entry);
        let copy = pg_sys::copyObjectImpl(entry.cast()).cast::<pg_sys::RangeTblEntry>();
        (*copy).securityQuals = ptr::null_mut();
        (*copy).rellockmode = pg_sys::AccessShareLock as c_int;
        (*copy).lateral = false;
        if set_aside::of_entry(copy).is_some() {
            set_aside::make_subquery(copy);
        }
        #[cfg(not(feature = "pg15"))]
        {
            (*copy).perminfoindex = 0;
        }
        copy
    }
}

/// The columns of the relation that these expressions need: as the plan knows them, and as the query selects them.
unsafe fn columns(
    number: pg_sys::Index,
    relation: Oid,
    needed: *mut pg_sys::List,
    conditions: *mut pg_sys::List,
) -> (*mut pg_sys::List, *mut pg_sys::List) {
    let flags = pg_sys::PVC_RECURSE_AGGREGATES
        | pg_sys::PVC_RECURSE_WINDOWFUNCS
        | pg_sys::PVC_RECURSE_PLACEHOLDERS;
    let mut known: *mut pg_sys::List = ptr::null_mut();
    let mut selected: *mut pg_sys::List = ptr::null_mut();
    let mut seen: Vec<pg_sys::AttrNumber> = Vec::new();
    // SAFETY: lists of expressions of the planner's; all nodes made here are copies.
    unsafe {
        for expressions in [needed, conditions] {
            let vars = pg_sys::pull_var_clause(expressions.cast(), flags as c_int);
            for var in list::iter::<pg_sys::Var>(vars) {
                if (*var).varno as pg_sys::Index != number || seen.contains(&(*var).varattno) {
                    continue;
                }
                seen.push((*var).varattno);
                let resno = seen.len() as pg_sys::AttrNumber;
                known = append_target(known, pg_sys::copyObjectImpl(var.cast()).cast(), resno);
                let column: *mut pg_sys::Node = if is_table_number(var) {
                    oid_constant(relation)
                } else {
                    for_part(var.cast())
                };
                selected = append_target(selected, column, resno);
            }
        }
        if seen.is_empty() {
            // A row without columns has no form in a scan's descriptor.
            let nothing = || pg_sys::makeNullConst(pg_sys::INT4OID, -1, Oid::INVALID);
            known = append_target(known, nothing().cast(), 1);
            selected = append_target(selected, nothing().cast(), 1);
        }
    }
    (known, selected)
}

unsafe fn append_target(
    targets: *mut pg_sys::List,
    expression: *mut pg_sys::Node,
    number: pg_sys::AttrNumber,
) -> *mut pg_sys::List {
    // SAFETY: a valid list and expression.
    unsafe {
        let name = crate::pg::tree::parse_nodes::palloc_text(&format!("c{number}"));
        let entry = pg_sys::makeTargetEntry(expression.cast(), number, name, false);
        pg_sys::lappend(targets, entry.cast())
    }
}

/// The table's OID here, which is another one on the node.
unsafe fn oid_constant(oid: Oid) -> *mut pg_sys::Node {
    // SAFETY: a constant of a type that is passed by value.
    unsafe {
        let size = size_of::<Oid>() as c_int;
        let value = pg_sys::Datum::from(oid);
        pg_sys::makeConst(pg_sys::OIDOID, -1, Oid::INVALID, size, value, false, true).cast()
    }
}

fn is_table_number(var: *const pg_sys::Var) -> bool {
    // SAFETY: called with valid variables.
    unsafe { i32::from((*var).varattno) == pg_sys::TableOidAttributeNumber }
}

/// A copy of an expression over one relation as it stands in a query that has no other.
///
/// # Safety
/// `expression` is valid.
pub(in crate::pg::tree) unsafe fn for_part(expression: *mut pg_sys::Node) -> *mut pg_sys::Node {
    unsafe extern "C-unwind" fn renumber(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
        if node.is_null() {
            return false;
        }
        // SAFETY: PostgreSQL walks a valid tree that is ours to change; the cast follows the tag.
        unsafe {
            if (*node).type_ == NodeTag::T_Var {
                let var = &mut *node.cast::<pg_sys::Var>();
                var.varno = 1;
                var.varnosyn = 0;
                var.varattnosyn = 0;
                #[cfg(not(feature = "pg15"))]
                {
                    var.varnullingrels = ptr::null_mut();
                }
                return false;
            }
            expression_tree_walker(node, renumber, context)
        }
    }
    // SAFETY: a valid expression.
    unsafe {
        let copy = pg_sys::copyObjectImpl(expression.cast()).cast::<pg_sys::Node>();
        renumber(copy, ptr::null_mut());
        copy
    }
}

/// Whether a condition on relation `number` is the same wherever it is tested: made from its columns, constants and
/// parameters by functions that came with the server and depend on nothing else.
///
/// # Safety
/// `condition` is a valid expression.
pub(in crate::pg::tree) unsafe fn means_the_same_everywhere(
    condition: *mut pg_sys::Node,
    number: pg_sys::Index,
) -> bool {
    let mut number = number;
    // SAFETY: a valid expression; the context outlives the walk.
    unsafe { !depends_on_place(condition, (&raw mut number).cast()) }
}

unsafe extern "C-unwind" fn depends_on_place(
    node: *mut pg_sys::Node,
    context: *mut c_void,
) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: PostgreSQL walks a valid tree; `context` is that of `means_the_same_everywhere`; the casts follow the tags.
    unsafe {
        match (*node).type_ {
            NodeTag::T_Var => {
                let var = node.cast::<pg_sys::Var>();
                let column = i32::from((*var).varattno);
                let number = *context.cast::<pg_sys::Index>();
                return (*var).varlevelsup != 0
                    || (*var).varno as pg_sys::Index != number
                    || column == 0
                    || is_table_number(var);
            }
            NodeTag::T_Const => {
                return !is_plain((*node.cast::<pg_sys::Const>()).consttype);
            }
            NodeTag::T_Param => {
                let param = &*node.cast::<pg_sys::Param>();
                return param.paramkind != pg_sys::ParamKind::PARAM_EXTERN
                    || !is_plain(param.paramtype);
            }
            NodeTag::T_CollateExpr => {
                if (*node.cast::<pg_sys::CollateExpr>()).collOid.to_u32() >= FIRST_USER_OID {
                    return true;
                }
            }
            // A collation that the planner has moved here is not in the text.
            NodeTag::T_RelabelType => {
                let relabel = &*node.cast::<pg_sys::RelabelType>();
                if relabel.resultcollid != pg_sys::exprCollation(relabel.arg.cast()) {
                    return true;
                }
            }
            NodeTag::T_List
            | NodeTag::T_FuncExpr
            | NodeTag::T_OpExpr
            | NodeTag::T_DistinctExpr
            | NodeTag::T_NullIfExpr
            | NodeTag::T_ScalarArrayOpExpr
            | NodeTag::T_BoolExpr
            | NodeTag::T_NullTest
            | NodeTag::T_BooleanTest
            | NodeTag::T_CoerceViaIO
            | NodeTag::T_ArrayCoerceExpr
            | NodeTag::T_ArrayExpr
            | NodeTag::T_SubscriptingRef
            | NodeTag::T_CaseExpr
            | NodeTag::T_CaseWhen
            | NodeTag::T_CaseTestExpr
            | NodeTag::T_CoalesceExpr
            | NodeTag::T_MinMaxExpr => {}
            _ => return true,
        }
        if !is_plain(result_type(node)) || masked_names::is_masked(node) {
            return true;
        }
        pg_sys::check_functions_in_node(node, Some(function_depends), ptr::null_mut())
            || expression_tree_walker(node, depends_on_place, context)
    }
}

/// The type of an expression; of what is none, one that is plain.
unsafe fn result_type(node: *mut pg_sys::Node) -> Oid {
    // SAFETY: a valid node.
    unsafe {
        match (*node).type_ {
            NodeTag::T_List | NodeTag::T_CaseWhen => pg_sys::BOOLOID,
            _ => pg_sys::exprType(node),
        }
    }
}

unsafe extern "C-unwind" fn function_depends(function: Oid, _context: *mut c_void) -> bool {
    // SAFETY: a syscache look-up.
    function.to_u32() >= FIRST_USER_OID || unsafe { pg_sys::func_volatile(function) } as u8 != b'i'
}
