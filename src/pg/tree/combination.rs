//! How the parts of an aggregate are combined, and the expressions that do it.

use crate::pg::catalog::object::FIRST_USER_OID;
use crate::pg::tree::list;
use crate::pg::tree::make::node;
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::ffi::CStr;
use std::ptr;

/// OIDs of built-in functions, which are the same in every version.
pub(in crate::pg::tree) mod oids {
    pub(in crate::pg::tree) const AVG_INT8: u32 = 2100;
    pub(in crate::pg::tree) const AVG_INT4: u32 = 2101;
    pub(in crate::pg::tree) const AVG_INT2: u32 = 2102;
    pub(in crate::pg::tree) const AVG_NUMERIC: u32 = 2103;
    pub(in crate::pg::tree) const SUM_INT8: u32 = 2107;
    pub(in crate::pg::tree) const SUM_INT4: u32 = 2108;
    pub(in crate::pg::tree) const SUM_INT2: u32 = 2109;
    pub(in crate::pg::tree) const SUM_MONEY: u32 = 2112;
    pub(in crate::pg::tree) const SUM_INTERVAL: u32 = 2113;
    pub(in crate::pg::tree) const SUM_NUMERIC: u32 = 2114;
    pub(in crate::pg::tree) const COUNT_ANY: u32 = 2147;
    pub(in crate::pg::tree) const COUNT_ROWS: u32 = 2803;
    /// `int8(numeric)`.
    pub(in crate::pg::tree) const NUMERIC_TO_INT8: u32 = 1779;
    /// `numeric / numeric`, and its function.
    pub(in crate::pg::tree) const DIVIDE_NUMERIC: u32 = 1761;
    pub(in crate::pg::tree) const NUMERIC_DIV: u32 = 1727;
}

/// `pg_aggregate.aggkind` of aggregates without an order.
const NORMAL: u8 = b'n';

/// How the parts of an aggregate are combined.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::pg::tree) enum Combination {
    /// By the aggregate itself.
    Itself,
    /// The sum of bigints, which is one.
    Bigint,
    /// The sum of numerics, or of bigints as one.
    Sum,
    /// The sum of the sums, divided by that of the numbers.
    Average {
        /// The function that gives the sums.
        sum: u32,
    },
}

/// Names of aggregates that give what they take.
const SELF_COMBINING: [&CStr; 8] =
    [c"min", c"max", c"bool_and", c"bool_or", c"every", c"bit_and", c"bit_or", c"bit_xor"];

/// None for an aggregate whose parts do not combine exactly.
///
/// # Safety
/// `aggregate` is valid.
pub(in crate::pg::tree) unsafe fn combination(aggregate: &pg_sys::Aggref) -> Option<Combination> {
    let plain = aggregate.aggorder.is_null()
        && aggregate.aggdistinct.is_null()
        && aggregate.aggdirectargs.is_null()
        && aggregate.aggkind as u8 == NORMAL
        && !aggregate.aggvariadic
        && aggregate.agglevelsup == 0;
    let function = aggregate.aggfnoid.to_u32();
    if !plain || function >= FIRST_USER_OID {
        return None;
    }
    // SAFETY: a valid aggregate; the name is a palloc'd C string, or null.
    unsafe {
        Some(match function {
            oids::COUNT_ANY | oids::COUNT_ROWS | oids::SUM_INT4 | oids::SUM_INT2 => {
                Combination::Bigint
            }
            oids::SUM_INT8 | oids::SUM_NUMERIC => Combination::Sum,
            oids::SUM_MONEY | oids::SUM_INTERVAL => Combination::Itself,
            oids::AVG_INT8 => Combination::Average { sum: oids::SUM_INT8 },
            oids::AVG_INT4 => Combination::Average { sum: oids::SUM_INT4 },
            oids::AVG_INT2 => Combination::Average { sum: oids::SUM_INT2 },
            oids::AVG_NUMERIC => Combination::Average { sum: oids::SUM_NUMERIC },
            _ => {
                let name = pg_sys::get_func_name(aggregate.aggfnoid);
                let known = !name.is_null() && SELF_COMBINING.contains(&CStr::from_ptr(name));
                if !known || list::len(aggregate.args) != 1 {
                    return None;
                }
                let argument = list::nth::<pg_sys::TargetEntry>(aggregate.args, 0);
                if pg_sys::exprType((*argument).expr.cast()) != aggregate.aggtype {
                    return None;
                }
                Combination::Itself
            }
        })
    }
}

/// The arguments of an aggregate that has this one.
///
/// # Safety
/// `value` is a valid expression.
pub(in crate::pg::tree) unsafe fn arguments_of(value: *mut pg_sys::Node) -> *mut pg_sys::List {
    // SAFETY: a valid expression.
    unsafe {
        let target = pg_sys::makeTargetEntry(value.cast(), 1, ptr::null_mut(), false);
        pg_sys::lappend(ptr::null_mut(), target.cast())
    }
}

/// The sum of a bigint or numeric column: a numeric.
///
/// # Safety
/// Valid expressions.
pub(in crate::pg::tree) unsafe fn sum(value: *mut pg_sys::Node) -> *mut pg_sys::Node {
    // SAFETY: a complete node.
    unsafe {
        let of_type = pg_sys::exprType(value);
        let function = if of_type == pg_sys::INT8OID { oids::SUM_INT8 } else { oids::SUM_NUMERIC };
        let aggregate = node::<pg_sys::Aggref>(NodeTag::T_Aggref);
        (*aggregate).aggfnoid = Oid::from(function);
        (*aggregate).aggtype = pg_sys::NUMERICOID;
        (*aggregate).aggargtypes = pg_sys::lappend_oid(ptr::null_mut(), of_type);
        (*aggregate).args = arguments_of(value);
        (*aggregate).aggkind = NORMAL as std::ffi::c_char;
        (*aggregate).aggno = -1;
        (*aggregate).aggtransno = -1;
        (*aggregate).location = -1;
        aggregate.cast()
    }
}

/// The numeric as a bigint.
///
/// # Safety
/// Valid expressions.
pub(in crate::pg::tree) unsafe fn as_bigint(value: *mut pg_sys::Node) -> *mut pg_sys::Node {
    // SAFETY: a complete node.
    unsafe {
        pg_sys::makeFuncExpr(
            Oid::from(oids::NUMERIC_TO_INT8),
            pg_sys::INT8OID,
            pg_sys::lappend(ptr::null_mut(), value.cast()),
            Oid::INVALID,
            Oid::INVALID,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CAST,
        )
        .cast()
    }
}

/// A numeric divided by another.
///
/// # Safety
/// Valid expressions.
pub(in crate::pg::tree) unsafe fn divided(
    value: *mut pg_sys::Node,
    by: *mut pg_sys::Node,
) -> *mut pg_sys::Node {
    // SAFETY: a complete node.
    unsafe {
        let division = node::<pg_sys::OpExpr>(NodeTag::T_OpExpr);
        (*division).opno = Oid::from(oids::DIVIDE_NUMERIC);
        (*division).opfuncid = Oid::from(oids::NUMERIC_DIV);
        (*division).opresulttype = pg_sys::NUMERICOID;
        let arguments = pg_sys::lappend(ptr::null_mut(), value.cast());
        (*division).args = pg_sys::lappend(arguments, by.cast());
        (*division).location = -1;
        division.cast()
    }
}
