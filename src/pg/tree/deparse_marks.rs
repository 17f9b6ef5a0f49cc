//! Mark values of CYCLE clauses, which PostgreSQL deparses with a cast (`TO 'Y'::text`) that its grammar does not
//! accept there: only constants without a cast are.

use crate::error::{Error, Result};
use crate::pg::catalog::types;
use pgrx::pg_sys::{self, NodeTag, Oid, errcodes::PgSqlErrorCode as Code};
use std::ffi::c_void;

/// Changes the mark values in the query, at any depth, so that their deparsed text is valid.
///
/// Errors: 0A000 for a value of a type without such text.
///
/// # Safety
/// `query` is a valid query that nobody else uses.
pub(in crate::pg) unsafe fn make_readable(query: *mut pg_sys::Query) -> Result<()> {
    let mut refused: Option<Oid> = None;
    // SAFETY: by the caller's promise; the context outlives the walk.
    unsafe {
        visit(query.cast(), (&raw mut refused).cast());
    }
    match refused {
        None => Ok(()),
        Some(of_type) => Err(Error::new(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!(
                "cannot send a CYCLE clause with mark values of type {} to a node from a procedural language",
                types::qualified_name(of_type)
            ),
        )
        .detail("PostgreSQL cannot deparse mark values of this type.")
        .hint("Use mark values of type text, integer, numeric or boolean, or run the query with EXECUTE.")),
    }
}

unsafe extern "C-unwind" fn visit(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: PostgreSQL walks a valid tree; `context` is that of `make_readable`; the casts follow the tags.
    unsafe {
        if (*node).type_ == NodeTag::T_Query {
            return pg_sys::query_tree_walker(node.cast(), Some(visit), context, 0);
        }
        if (*node).type_ == NodeTag::T_CommonTableExpr {
            let cycle = (*node.cast::<pg_sys::CommonTableExpr>()).cycle_clause;
            if !cycle.is_null() {
                let refused = context.cast::<Option<Oid>>();
                for mark in [(*cycle).cycle_mark_value, (*cycle).cycle_mark_default] {
                    if !is_readable(mark) {
                        *refused = Some(pg_sys::exprType(mark));
                    }
                }
            }
        }
        pg_sys::expression_tree_walker(node, Some(visit), context)
    }
}

/// Changes a text constant to one of unknown type, which is resolved to text in this place.
unsafe fn is_readable(mark: *mut pg_sys::Node) -> bool {
    // SAFETY: an analyzed mark; the cast follows the tag; a text's output is a C string that lives as long as the tree.
    unsafe {
        if (*mark).type_ != NodeTag::T_Const {
            return false;
        }
        let constant = &mut *mark.cast::<pg_sys::Const>();
        match constant.consttype {
            pg_sys::BOOLOID | pg_sys::INT4OID | pg_sys::NUMERICOID => constant.consttypmod < 0,
            pg_sys::TEXTOID if !constant.constisnull => {
                let text = pg_sys::text_to_cstring(constant.constvalue.cast_mut_ptr());
                constant.consttype = pg_sys::UNKNOWNOID;
                constant.constcollid = Oid::INVALID;
                constant.constlen = -2;
                constant.constvalue = pg_sys::Datum::from(text);
                true
            }
            _ => false,
        }
    }
}
