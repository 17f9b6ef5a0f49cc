//! Calls of functions in a statement that changes rows whose result is the same for each row.

use crate::pg::tree::function_rules::FunctionRules;
use crate::pg::tree::make::node;
use crate::pg::tree::mutate::expression_tree_mutator;
use crate::pg::tree::survey::expression_tree_walker;
use pgrx::pg_sys::{self, NodeTag};
use std::ffi::c_void;
use std::ptr;

/// Gives the query that takes a call's place, or None for a call that stays.
type Replacement<'a> = &'a mut dyn FnMut(*mut pg_sys::Node) -> Option<*mut pg_sys::Query>;

/// Replaces calls by queries that give their values; not in subqueries, which are statements of their own.
///
/// # Safety
/// `query` is valid, changes rows, and is ours to change.
pub(in crate::pg) unsafe fn replace<R: FunctionRules>(
    query: *mut pg_sys::Query,
    mut replacement: Replacement<'_>,
) {
    let context: *mut c_void = (&raw mut replacement).cast();
    // SAFETY: by the caller's promise; the context outlives the walks; a copy of a list is one, and so on.
    unsafe {
        let query = &mut *query;
        let change = |node: *mut pg_sys::Node| visit::<R>(node, context);
        query.targetList = change(query.targetList.cast()).cast();
        query.returningList = change(query.returningList.cast()).cast();
        query.mergeActionList = change(query.mergeActionList.cast()).cast();
        query.onConflict = change(query.onConflict.cast()).cast();
        query.jointree = change(query.jointree.cast()).cast();
        query.hasSubLinks = true;
    }
}

/// A query that gives the value of an expression.
///
/// # Safety
/// `expression` is valid, and nothing in it refers to a query.
pub(in crate::pg) unsafe fn query_of(expression: *mut pg_sys::Node) -> *mut pg_sys::Query {
    // SAFETY: by the caller's promise; what is made is a complete node.
    unsafe {
        let query = node::<pg_sys::Query>(NodeTag::T_Query);
        (*query).commandType = pg_sys::CmdType::CMD_SELECT;
        (*query).canSetTag = true;
        (*query).jointree = pg_sys::makeFromExpr(ptr::null_mut(), ptr::null_mut());
        let copy = pg_sys::copyObjectImpl(expression.cast()).cast::<pg_sys::Expr>();
        let name = crate::pg::tree::parse_nodes::palloc_text("value");
        let column = pg_sys::makeTargetEntry(copy, 1, name, false);
        (*query).targetList = pg_sys::lappend(ptr::null_mut(), column.cast());
        query
    }
}

unsafe extern "C-unwind" fn visit<R: FunctionRules>(
    current: *mut pg_sys::Node,
    context: *mut c_void,
) -> *mut pg_sys::Node {
    if current.is_null() {
        return current;
    }
    // SAFETY: PostgreSQL walks a valid tree; `context` is that of `replace`; the casts follow the tags.
    unsafe {
        match (*current).type_ {
            NodeTag::T_Query => return current,
            NodeTag::T_FuncExpr if is_constant::<R>(current.cast()) => {
                let replacement = &mut *context.cast::<Replacement<'_>>();
                if let Some(value) = replacement(current) {
                    let sublink = node::<pg_sys::SubLink>(NodeTag::T_SubLink);
                    (*sublink).subLinkType = pg_sys::SubLinkType::EXPR_SUBLINK;
                    (*sublink).subselect = value.cast();
                    (*sublink).location = -1;
                    return sublink.cast();
                }
            }
            _ => {}
        }
        expression_tree_mutator(current, visit::<R>, context)
    }
}

/// Whether a call gives one value for a whole statement.
unsafe fn is_constant<R: FunctionRules>(call: *mut pg_sys::FuncExpr) -> bool {
    // SAFETY: a valid call.
    unsafe {
        // It changes with `nextval()` only, which is no constant.
        let is_constant = match R::original((*call).funcid).to_u32() {
            pg_sys::F_CURRVAL => !pg_sys::contain_volatile_functions((*call).args.cast()),
            _ => !pg_sys::contain_volatile_functions(call.cast()),
        };
        let of_type = (*call).funcresulttype;
        is_constant
            && !(*call).funcretset
            && pg_sys::get_typtype(of_type) as u8 != pg_sys::TYPTYPE_PSEUDO
            && !depends_on_row(call.cast(), ptr::null_mut())
    }
}

unsafe extern "C-unwind" fn depends_on_row(
    current: *mut pg_sys::Node,
    context: *mut c_void,
) -> bool {
    if current.is_null() {
        return false;
    }
    // SAFETY: PostgreSQL walks a valid tree; the casts follow the tags.
    unsafe {
        match (*current).type_ {
            NodeTag::T_Var
            | NodeTag::T_Aggref
            | NodeTag::T_GroupingFunc
            | NodeTag::T_WindowFunc
            | NodeTag::T_SubLink
            | NodeTag::T_CaseTestExpr
            | NodeTag::T_CoerceToDomainValue
            | NodeTag::T_SetToDefault => true,
            NodeTag::T_Param => {
                (*current.cast::<pg_sys::Param>()).paramkind != pg_sys::ParamKind::PARAM_EXTERN
            }
            _ => expression_tree_walker(current, depends_on_row, context),
        }
    }
}
