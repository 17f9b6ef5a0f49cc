//! Conversions between object names and OIDs in a query: user-defined objects have other OIDs on a node.
//!
//! A value of a `reg…` type is a name: it is written, sent and displayed as one. As an OID it may be compared with
//! other OIDs of that kind, or passed to a built-in function that takes an OID (`obj_description('t'::regclass)`);
//! anything else would mistake it for an OID of this server. Conversely, an OID given by a client is one of this
//! server.

use crate::pg::catalog::object::FIRST_USER_OID;
use crate::pg::tree::list;
use crate::pg::tree::parse_nodes;
use crate::pg::tree::table_numbers;
use pgrx::pg_sys::{self, NodeTag, Oid};

/// An invalid use of an object's OID on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OidMisuse {
    /// A name is converted to an OID that is returned, or compared with OIDs of this server.
    Exposed,
    /// An OID is converted to a name, or passed to a function.
    Supplied,
}

/// The verdict on a node of a query's tree.
pub(in crate::pg) enum Verdict {
    /// No objection.
    Fine,
    /// Its arguments are OIDs that are not visible elsewhere: check what they are converted from instead.
    Consumes,
    /// Not allowed on a node.
    Misused(OidMisuse),
}

/// Judges a parse node. For nodes that call and convert nothing, this only compares the tag.
///
/// # Safety
/// `node` is a valid node of an analyzed query.
#[inline]
pub(in crate::pg) unsafe fn judge(node: *mut pg_sys::Node) -> Verdict {
    // SAFETY: by the caller's promise.
    unsafe {
        if table_numbers::is_named(node) {
            return Verdict::Fine;
        }
        match (*node).type_ {
            NodeTag::T_OpExpr if table_numbers::is_comparison(node.cast()) => Verdict::Fine,
            NodeTag::T_RelabelType | NodeTag::T_ArrayCoerceExpr | NodeTag::T_FuncExpr => {
                conversion_or_call(node)
            }
            NodeTag::T_OpExpr | NodeTag::T_ScalarArrayOpExpr | NodeTag::T_DistinctExpr => {
                comparison(node)
            }
            _ => Verdict::Fine,
        }
    }
}

/// The expression from which an OID is converted; the node itself if it is not converted from a name.
///
/// # Safety
/// `node` is a valid node of an analyzed query.
pub(in crate::pg) unsafe fn name_of_conversion(node: *mut pg_sys::Node) -> *mut pg_sys::Node {
    // SAFETY: by the caller's promise.
    unsafe {
        match converted(node) {
            Some((argument, to)) if is_number(to) => match converted(argument) {
                // oid to bigint, say, of what was a name
                Some((inner, _)) if is_number(pg_sys::exprType(argument)) => inner,
                _ => argument,
            },
            _ => node,
        }
    }
}

unsafe fn conversion_or_call(node: *mut pg_sys::Node) -> Verdict {
    // SAFETY: a valid node; the cast follows the tag.
    unsafe {
        let Some((argument, to)) = converted(node) else {
            return match (*node).type_ {
                NodeTag::T_FuncExpr => call(node.cast()),
                _ => Verdict::Fine,
            };
        };
        let from = pg_sys::exprType(argument);
        if is_name(from) && is_number(to) && !is_the_same_everywhere(argument) {
            Verdict::Misused(OidMisuse::Exposed)
        } else if is_number(from) && is_name(to) {
            match is_of_name(argument) {
                true => Verdict::Consumes,
                false if is_the_same_everywhere(argument) => Verdict::Fine,
                false => Verdict::Misused(OidMisuse::Supplied),
            }
        } else {
            Verdict::Fine
        }
    }
}

/// A call of a built-in function with OID arguments.
unsafe fn call(call: *mut pg_sys::FuncExpr) -> Verdict {
    // SAFETY: a valid call; its arguments are expressions.
    unsafe {
        if (*call).funcid.to_u32() >= FIRST_USER_OID {
            return Verdict::Fine;
        }
        let arguments = || list::iter::<pg_sys::Node>((*call).args);
        if !arguments().any(|argument| pg_sys::exprType(argument) == pg_sys::OIDOID)
            || !asks_about_objects((*call).funcid)
        {
            return Verdict::Fine;
        }
        let (mut declared, mut count) = (std::ptr::null_mut(), 0);
        pg_sys::get_func_signature((*call).funcid, &mut declared, &mut count);
        let declared = std::slice::from_raw_parts(declared, usize::try_from(count).unwrap_or(0));
        let is_number = |at: &usize| declared.get(*at) == Some(&pg_sys::OIDOID);
        let mut numbers = arguments().enumerate().filter(|(at, _)| is_number(at)).peekable();
        if numbers.peek().is_none() {
            return Verdict::Fine; // of any type
        }
        let known = |number| is_of_name(number) || is_the_same_everywhere(number);
        match numbers.all(|(_, number)| known(number)) {
            true => Verdict::Consumes,
            false => Verdict::Misused(OidMisuse::Supplied),
        }
    }
}

/// Excludes functions that only compare, compute or convert.
unsafe fn asks_about_objects(function: Oid) -> bool {
    // SAFETY: a syscache lookup that returns a palloc'd C string or null.
    let name = unsafe { parse_nodes::text(pg_sys::get_func_name(function)) }.unwrap_or_default();
    let counts = ["oid", "hashoid", "btoid", "int", "lo"];
    !counts.iter().any(|start| name.starts_with(start))
}

/// Names are compared by OID.
unsafe fn comparison(node: *mut pg_sys::Node) -> Verdict {
    // SAFETY: the kinds of comparison share one shape up to their arguments, but one; the casts follow the tags.
    unsafe {
        let arguments = match (*node).type_ {
            NodeTag::T_ScalarArrayOpExpr => (*node.cast::<pg_sys::ScalarArrayOpExpr>()).args,
            _ if (*node.cast::<pg_sys::OpExpr>()).opresulttype != pg_sys::BOOLOID => {
                return Verdict::Fine; // it computes with them
            }
            _ => (*node.cast::<pg_sys::OpExpr>()).args,
        };
        let named = |argument| is_of_name(argument);
        if !list::iter::<pg_sys::Node>(arguments).any(named) {
            return Verdict::Fine;
        }
        let there =
            |argument: *mut pg_sys::Node| named(argument) || is_the_same_everywhere(argument);
        match list::iter::<pg_sys::Node>(arguments).all(there) {
            true => Verdict::Consumes,
            false => Verdict::Misused(OidMisuse::Exposed),
        }
    }
}

/// Whether an OID is converted from a name.
unsafe fn is_of_name(node: *mut pg_sys::Node) -> bool {
    // SAFETY: a valid expression.
    unsafe {
        let name = name_of_conversion(node);
        name != node && is_name(pg_sys::exprType(name))
    }
}

/// Whether this is a constant with the same meaning on each server: a built-in object, no object, or NULL.
unsafe fn is_the_same_everywhere(node: *mut pg_sys::Node) -> bool {
    // SAFETY: a valid expression; the casts follow the tags.
    unsafe {
        match (*node).type_ {
            NodeTag::T_Const => {
                let constant = &*node.cast::<pg_sys::Const>();
                let is_scalar = constant.constbyval;
                constant.constisnull
                    || is_scalar && (constant.constvalue.value() as u64) < u64::from(FIRST_USER_OID)
            }
            _ => converted(node).is_some_and(|(argument, _)| is_the_same_everywhere(argument)),
        }
    }
}

/// The argument of a conversion between OID-like and number types, and the resulting type.
unsafe fn converted(node: *mut pg_sys::Node) -> Option<(*mut pg_sys::Node, Oid)> {
    // SAFETY: a valid expression; the casts follow the tags.
    unsafe {
        let (argument, to) = match (*node).type_ {
            NodeTag::T_RelabelType => {
                let cast = &*node.cast::<pg_sys::RelabelType>();
                (cast.arg.cast(), cast.resulttype)
            }
            NodeTag::T_ArrayCoerceExpr => {
                let cast = &*node.cast::<pg_sys::ArrayCoerceExpr>();
                (cast.arg.cast(), cast.resulttype)
            }
            NodeTag::T_FuncExpr => {
                let call = &*node.cast::<pg_sys::FuncExpr>();
                if call.funcid != pg_sys::F_OID && call.funcid != pg_sys::F_INT8_OID {
                    return None;
                }
                (list::nth::<pg_sys::Node>(call.args, 0), call.funcresulttype)
            }
            _ => return None,
        };
        (is_number(to) || is_name(to)).then_some((argument, to))
    }
}

fn is_number(of_type: Oid) -> bool {
    use pg_sys::{INT4OID, INT8OID, OIDARRAYOID, OIDOID};
    [OIDOID, INT4OID, INT8OID, OIDARRAYOID, Oid::from(1007), Oid::from(1016)].contains(&of_type)
}

/// The types whose values are displayed as object names, and arrays of them.
fn is_name(of_type: Oid) -> bool {
    matches!(
        of_type.to_u32(),
        24 | 2202..=2206 | 3734 | 3769 | 4089 | 4096 | 4191 // regproc to regtype, text search, namespace, role, collation
            | 1008 | 2207..=2211 | 3735 | 3770 | 4090 | 4097 | 4192
    )
}
