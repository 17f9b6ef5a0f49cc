//! Expressions that are computed on a node: `x := tenant.f(1)` in PL/pgSQL.
//!
//! Procedural languages evaluate a query without FROM as the expression of its plan, which must be a Result node. Such a
//! query's expression is replaced by a call of an SQL function that takes the text to send, and planned by PostgreSQL.

use crate::error::{Error, Result};
use crate::pg::error::trampoline;
use crate::pg::exec::params::Params;
use crate::pg::exec::remote_plan::RemotePlan;
use crate::pg::exec::result_columns::{self, ResultColumns};
use crate::pg::exec::value_reader::ValueReader;
use crate::pg::tree::list;
use crate::pg::tree::{ParamUse, QueryTree};
use pgrx::pg_sys::{self, NodeTag, Oid, errcodes::PgSqlErrorCode};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::ptr;

/// An expression to be evaluated on a node.
pub struct Evaluation {
    /// `SELECT …` that returns one row with one column.
    pub sql: Vec<u8>,
    /// Namespaces of all remote objects in it.
    pub namespaces: Vec<Oid>,
    /// Whether it may change something, including settings of the session on the node.
    pub writes: bool,
    /// The expected result column.
    pub columns: ResultColumns,
    /// Its parameters.
    pub params: Params,
}

/// Evaluates expressions on nodes.
pub trait EvaluateHooks {
    /// Evaluates an expression on its node; returns the value's text, `None` for NULL.
    fn evaluate(evaluation: Evaluation) -> Result<Option<Vec<u8>>>;
}

/// Whether a procedural language would evaluate this query as an expression (see PL/pgSQL's `exec_simple_check_plan`).
pub fn is_expression(query: QueryTree<'_>) -> bool {
    // SAFETY: a valid query.
    unsafe {
        let q = &*query.as_ptr();
        q.commandType == pg_sys::CmdType::CMD_SELECT
            && q.rtable.is_null()
            && q.cteList.is_null()
            && (q.jointree.is_null()
                || (list::len((*q.jointree).fromlist) == 0 && (*q.jointree).quals.is_null()))
            && !(q.hasAggs || q.hasWindowFuncs || q.hasTargetSRFs || q.hasSubLinks)
            && q.groupClause.is_null()
            && q.groupingSets.is_null()
            && q.havingQual.is_null()
            && q.distinctClause.is_null()
            && q.sortClause.is_null()
            && q.limitOffset.is_null()
            && q.limitCount.is_null()
            && q.setOperations.is_null()
            && list::len(q.targetList) == 1
    }
}

/// Argument types of the SQL function implemented by [`evaluate`]; the last one is variadic.
pub const SIGNATURE: [Oid; 4] =
    [pg_sys::INTERNALOID, pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::ANYOID];

/// Replaces the query's expression by a call of `function`.
pub(in crate::pg) fn substitute(
    query: QueryTree<'_>,
    plan: &RemotePlan,
    params: &[ParamUse],
    function: Oid,
) {
    let types: BTreeMap<i32, ParamUse> = params.iter().map(|p| (p.id, *p)).collect();
    let join = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(",");
    // SAFETY: a valid query; nothing behind the guard has to be dropped.
    let columns = unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            result_columns::of_targets((*query.as_ptr()).targetList, true)
        })
    };
    let about = format!(
        "{};{};{};{},{}",
        u8::from(plan.writes),
        join(&mut plan.namespaces.iter().map(|n| n.to_u32().to_string())),
        join(&mut types.keys().map(ToString::to_string)),
        columns.described,
        columns.own_types,
    );
    // SAFETY: nodes are built in the planner's memory context; the target list has one entry.
    unsafe {
        let entry = list::nth::<pg_sys::TargetEntry>((*query.as_ptr()).targetList, 0);
        let expression = (*entry).expr.cast::<pg_sys::Node>();
        let (of_type, collation) =
            (pg_sys::exprType(expression), pg_sys::exprCollation(expression));
        let mut arguments = pg_sys::lappend(
            ptr::null_mut(),
            pg_sys::makeNullConst(pg_sys::INTERNALOID, -1, Oid::INVALID).cast(),
        );
        arguments = pg_sys::lappend(arguments, text_constant(&plan.sql).cast());
        arguments = pg_sys::lappend(arguments, text_constant(about.as_bytes()).cast());
        for param in types.values() {
            let node = pg_sys::palloc0(size_of::<pg_sys::Param>()).cast::<pg_sys::Param>();
            (*node).xpr.type_ = NodeTag::T_Param;
            (*node).paramkind = pg_sys::ParamKind::PARAM_EXTERN;
            (*node).paramid = param.id;
            (*node).paramtype = Oid::from(param.of_type);
            (*node).paramtypmod = -1;
            (*node).paramcollid = pg_sys::get_typcollation(Oid::from(param.of_type));
            (*node).location = -1;
            arguments = pg_sys::lappend(arguments, node.cast());
        }
        if types.is_empty() {
            // VARIADIC "any" requires at least one argument.
            arguments = pg_sys::lappend(
                arguments,
                pg_sys::makeNullConst(pg_sys::TEXTOID, -1, Oid::INVALID).cast(),
            );
        }
        let call = pg_sys::makeFuncExpr(
            function,
            of_type,
            arguments,
            collation,
            Oid::INVALID,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
        );
        (*entry).expr = call.cast();
    }
}

unsafe fn text_constant(text: &[u8]) -> *mut pg_sys::Const {
    // SAFETY: the text is copied into the current memory context with its length.
    unsafe {
        let value =
            pg_sys::cstring_to_text_with_len(text.as_ptr().cast(), text.len() as std::ffi::c_int);
        pg_sys::makeConst(
            pg_sys::TEXTOID,
            -1,
            pg_sys::DEFAULT_COLLATION_OID,
            -1,
            pg_sys::Datum::from(value),
            false,
            false,
        )
    }
}

/// Implements the SQL function that [`substitute`] puts into a query.
///
/// # Safety
/// Called by the function manager, from a frame that owns nothing with a destructor.
pub unsafe fn evaluate<H: EvaluateHooks>(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    let mut is_null = true;
    let out = &raw mut is_null;
    // SAFETY: by the caller's promise; `out` outlives the call.
    unsafe {
        let value = trampoline(pg_sys::Datum::null(), || {
            let computed = H::evaluate(arguments(fcinfo)?)?;
            *out = computed.is_none();
            Ok(match computed {
                Some(text) => input(fcinfo, &text)?,
                None => pg_sys::Datum::null(),
            })
        });
        (*fcinfo).isnull = is_null;
        value
    }
}

/// # Safety
/// `fcinfo` is that of a call made by [`substitute`].
unsafe fn arguments(fcinfo: pg_sys::FunctionCallInfo) -> Result<Evaluation> {
    // SAFETY: by the caller's promise: the first arguments are internal, text, text.
    unsafe {
        let argument = |i: usize| &*(*fcinfo).args.as_ptr().add(i);
        let text = |i: usize| {
            let c = pg_sys::text_to_cstring(argument(i).value.cast_mut_ptr());
            CStr::from_ptr(c).to_bytes().to_vec()
        };
        let about = String::from_utf8(text(2)).unwrap_or_default();
        let mut parts = about.split(';');
        let mut numbers = || -> Vec<u64> {
            parts.next().unwrap_or("").split(',').filter_map(|n| n.parse().ok()).collect()
        };
        let (writes, namespaces, ids, columns) = (numbers(), numbers(), numbers(), numbers());
        let mut params = Params::default();
        for (i, id) in ids.iter().enumerate() {
            let of_type = pg_sys::get_fn_expr_argtype((*fcinfo).flinfo, 3 + i as i32);
            let datum = argument(3 + i);
            params.put(*id as usize, of_type, (!datum.isnull).then_some(datum.value));
        }
        if (*fcinfo).nargs as usize != ids.len().max(1) + 3 {
            return Err(Error::new(
                PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
                "unexpected arguments of function",
            ));
        }
        Ok(Evaluation {
            sql: text(1),
            namespaces: namespaces.into_iter().map(|n| Oid::from(n as u32)).collect(),
            writes: writes == [1],
            columns: match columns[..] {
                [described, own_types] => ResultColumns { described, own_types },
                _ => ResultColumns::default(),
            },
            params,
        })
    }
}

/// Converts text to a value of the call's result type.
unsafe fn input(fcinfo: pg_sys::FunctionCallInfo, text: &[u8]) -> Result<pg_sys::Datum> {
    let text = CString::new(text).unwrap_or_default();
    // SAFETY: the result type of the call's own expression; the reader is used at once.
    unsafe {
        let of_type = pg_sys::get_fn_expr_rettype((*fcinfo).flinfo);
        Ok(ValueReader::new(of_type, -1, false)?.read_text(&text))
    }
}
