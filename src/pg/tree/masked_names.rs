//! Functions, operators and types of PostgreSQL that the text of a query names without schema, and that the current `search_path`
//! masks.
//!
//! Views, policies and parts of statements are bound to them, and their text must not be bound to something else, which would be
//! code of whoever may create it in a schema of the path. The parser does not only prefer a schema that comes first: it prefers an
//! argument list that matches without casts, wherever it is. So the names are looked up as it would.

use crate::error::{Error, Result};
use crate::pg::tree::survey::{expression_tree_walker, query_tree_walker};
use crate::pg::tree::{list, parse_nodes};
use pgrx::pg_sys::{self, NodeTag, Oid, errcodes::PgSqlErrorCode as Code};
use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::ptr;

thread_local! {
    /// Whether plans of this backend depend on names not being masked.
    static USED: Cell<bool> = const { Cell::new(false) };
}

/// Checks that the text of a query means the query under the current `search_path`.
///
/// Errors: 0A000 for a name that is masked.
///
/// # Safety
/// `query` is valid.
pub(in crate::pg) unsafe fn check(query: *mut pg_sys::Query) -> Result<()> {
    USED.set(true);
    let mut masked: *mut c_char = ptr::null_mut();
    // SAFETY: a valid query; the context outlives the walk, which leaves a C string in it.
    let name = unsafe {
        visit(query.cast(), (&raw mut masked).cast());
        parse_nodes::text(masked)
    };
    match name {
        None => Ok(()),
        Some(name) => Err(Error::new(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("\"{name}\" of schema \"pg_catalog\" is masked by a schema of search_path"),
        )
        .detail("A view, a policy or a part of the statement uses it, and would use another one where its text is parsed again.")
        .hint("Remove from search_path the schema that has a function, operator or type of this name.")),
    }
}

/// Resets cached plans when functions are created, as PostgreSQL does for operators: one that fits better would be called.
/// Called once, when the library is loaded.
pub(in crate::pg) fn install() {
    // SAFETY: plain registration of a function that lives as long as the process.
    unsafe {
        pg_sys::CacheRegisterSyscacheCallback(
            pg_sys::SysCacheIdentifier::PROCNAMEARGSNSP as c_int,
            Some(functions_have_changed),
            pg_sys::Datum::from(0),
        );
    }
}

unsafe extern "C-unwind" fn functions_have_changed(_arg: pg_sys::Datum, _cache: c_int, _hash: u32) {
    if USED.get() {
        // SAFETY: marks plans, as PostgreSQL's own callback does.
        unsafe { pg_sys::ResetPlanCache() }
    }
}

unsafe extern "C-unwind" fn visit(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: PostgreSQL walks a valid tree; `context` is that of `check`; the cast follows the tag.
    unsafe {
        let name = masked(node);
        if !name.is_null() {
            *context.cast::<*mut c_char>() = name;
            return true;
        }
        if (*node).type_ == NodeTag::T_Query {
            let flags = pg_sys::QTW_EXAMINE_SORTGROUP as c_int;
            return query_tree_walker(node.cast(), visit, context, flags);
        }
        expression_tree_walker(node, visit, context)
    }
}

/// Whether what a node itself names is masked.
///
/// # Safety
/// `node` is valid.
pub(in crate::pg::tree) unsafe fn is_masked(node: *mut pg_sys::Node) -> bool {
    USED.set(true);
    // SAFETY: by the caller's promise.
    unsafe { !masked(node).is_null() }
}

/// The name of what a node itself uses if it is masked, else null.
unsafe fn masked(node: *mut pg_sys::Node) -> *mut c_char {
    // SAFETY: a valid node; the casts follow the tags.
    unsafe {
        match (*node).type_ {
            NodeTag::T_OpExpr | NodeTag::T_DistinctExpr | NodeTag::T_NullIfExpr => {
                let call = &*node.cast::<pg_sys::OpExpr>();
                let types = types_of(call.args);
                masked_operator(call.opno, &types)
            }
            NodeTag::T_ScalarArrayOpExpr => {
                let call = &*node.cast::<pg_sys::ScalarArrayOpExpr>();
                let mut types = types_of(call.args);
                if let Some(array) = types.last_mut() {
                    *array = pg_sys::get_base_element_type(*array);
                }
                masked_operator(call.opno, &types)
            }
            NodeTag::T_RowCompareExpr => {
                let rows = &*node.cast::<pg_sys::RowCompareExpr>();
                let (left, right) = (types_of(rows.largs), types_of(rows.rargs));
                let operators = list::oids(rows.opnos);
                let each = operators.zip(left.iter().zip(&right));
                let mut names = each.map(|(operator, (&l, &r))| masked_operator(operator, &[l, r]));
                names.find(|name| !name.is_null()).unwrap_or(ptr::null_mut())
            }
            NodeTag::T_SortGroupClause => {
                masked_sort_operator((*node.cast::<pg_sys::SortGroupClause>()).sortop)
            }
            NodeTag::T_FuncExpr => {
                let call = &*node.cast::<pg_sys::FuncExpr>();
                match call.funcformat {
                    pg_sys::CoercionForm::COERCE_EXPLICIT_CALL => {
                        masked_function(call.funcid, call.args, call.funcvariadic)
                    }
                    pg_sys::CoercionForm::COERCE_EXPLICIT_CAST => masked_type(call.funcresulttype),
                    _ => ptr::null_mut(),
                }
            }
            NodeTag::T_Aggref => {
                let call = &*node.cast::<pg_sys::Aggref>();
                let mut arguments = pg_sys::list_copy(call.aggdirectargs);
                for entry in list::iter::<pg_sys::TargetEntry>(call.args) {
                    if !(*entry).resjunk {
                        arguments = pg_sys::lappend(arguments, (*entry).expr.cast());
                    }
                }
                masked_function(call.aggfnoid, arguments, call.aggvariadic)
            }
            NodeTag::T_WindowFunc => {
                let call = &*node.cast::<pg_sys::WindowFunc>();
                masked_function(call.winfnoid, call.args, false)
            }
            NodeTag::T_Const
            | NodeTag::T_RelabelType
            | NodeTag::T_CoerceViaIO
            | NodeTag::T_ArrayCoerceExpr
            | NodeTag::T_ArrayExpr => masked_type(pg_sys::exprType(node)),
            NodeTag::T_CollateExpr => {
                let collation = (*node.cast::<pg_sys::CollateExpr>()).collOid;
                match is_built_in(collation) && !pg_sys::CollationIsVisible(collation) {
                    true => pg_sys::get_collation_name(collation),
                    false => ptr::null_mut(),
                }
            }
            _ => ptr::null_mut(),
        }
    }
}

/// Whether an object is in schema `pg_catalog`: later OIDs that are not users' belong to `information_schema`.
fn is_built_in(oid: Oid) -> bool {
    oid.to_u32() < pg_sys::FirstUnpinnedObjectId
}

/// The types of arguments as their text has them: implicit casts are not printed.
unsafe fn types_of(arguments: *mut pg_sys::List) -> Vec<Oid> {
    // SAFETY: a list of expressions.
    unsafe {
        list::iter::<pg_sys::Node>(arguments)
            .map(|argument| pg_sys::exprType(pg_sys::strip_implicit_coercions(argument)))
            .collect()
    }
}

unsafe fn masked_operator(operator: Oid, types: &[Oid]) -> *mut c_char {
    // SAFETY: look-ups; what they give is released, and the name is a palloc'd C string.
    unsafe {
        let name = pg_sys::get_opname(operator);
        if name.is_null() || !is_built_in(operator) {
            return ptr::null_mut();
        }
        let names = pg_sys::lappend(ptr::null_mut(), pg_sys::makeString(name).cast());
        let found = match *types {
            [right] => pg_sys::left_oper(ptr::null_mut(), names, right, true, -1),
            [left, right] => pg_sys::oper(ptr::null_mut(), names, left, right, true, -1),
            _ => return ptr::null_mut(),
        };
        if found.is_null() {
            return name;
        }
        let oid = (*pg_sys::GETSTRUCT(found).cast::<pg_sys::FormData_pg_operator>()).oid;
        pg_sys::ReleaseSysCache(found);
        if oid == operator { ptr::null_mut() } else { name }
    }
}

/// An operator that sorts is printed if it is not the usual one of its type.
unsafe fn masked_sort_operator(operator: Oid) -> *mut c_char {
    // SAFETY: a look-up of an operator that exists.
    unsafe {
        if operator == Oid::INVALID {
            return ptr::null_mut();
        }
        let (mut left, mut right) = (Oid::INVALID, Oid::INVALID);
        pg_sys::op_input_types(operator, &mut left, &mut right);
        match pg_sys::get_typtype(left) as u8 == pg_sys::TYPTYPE_PSEUDO {
            true => ptr::null_mut(),
            false => masked_operator(operator, &[left, right]),
        }
    }
}

unsafe fn masked_function(
    function: Oid,
    arguments: *mut pg_sys::List,
    variadic: bool,
) -> *mut c_char {
    // SAFETY: look-ups; the results are written to variables of this frame.
    unsafe {
        let name = pg_sys::get_func_name(function);
        if name.is_null() || !is_built_in(function) {
            return ptr::null_mut();
        }
        let mut types = types_of(arguments);
        let mut argument_names: *mut pg_sys::List = ptr::null_mut();
        for argument in list::iter::<pg_sys::NamedArgExpr>(arguments) {
            if (*argument).xpr.type_ == NodeTag::T_NamedArgExpr {
                argument_names = pg_sys::lappend(argument_names, (*argument).name.cast());
            }
        }
        let names = pg_sys::lappend(ptr::null_mut(), pg_sys::makeString(name).cast());
        let (mut found, mut result) = (Oid::INVALID, Oid::INVALID);
        let (mut is_set, mut variadics, mut element) = (false, 0, Oid::INVALID);
        let mut true_types: *mut Oid = ptr::null_mut();
        pg_sys::func_get_detail(
            names,
            ptr::null_mut(),
            argument_names,
            types.len() as c_int,
            types.as_mut_ptr(),
            !variadic,
            true,
            false,
            &mut found,
            &mut result,
            &mut is_set,
            &mut variadics,
            &mut element,
            &mut true_types,
            ptr::null_mut(),
        );
        if found == function { ptr::null_mut() } else { name }
    }
}

unsafe fn masked_type(of_type: Oid) -> *mut c_char {
    // SAFETY: look-ups of an existing type.
    unsafe {
        let element = pg_sys::get_element_type(of_type);
        let named = if element == Oid::INVALID { of_type } else { element };
        match is_built_in(named) && !pg_sys::TypeIsVisible(named) {
            true => pg_sys::format_type_be(named),
            false => ptr::null_mut(),
        }
    }
}
