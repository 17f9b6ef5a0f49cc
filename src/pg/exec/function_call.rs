//! Information about the call of an SQL function beyond the values of its arguments.

use crate::error::{Error, Result};
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::pg_sys::{self, FunctionCallInfoBaseData, Oid, errcodes::PgSqlErrorCode as Code};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use std::marker::PhantomData;

/// A call of an SQL function in progress: a parameter of the Rust function that does not exist in SQL.
/// Only pgrx creates it, for the function that it runs, and it cannot outlive the call.
pub struct FunctionCall<'call> {
    call: pg_sys::FunctionCallInfo,
    lifetime: PhantomData<&'call FunctionCallInfoBaseData>,
}

impl FunctionCall<'_> {
    /// The table that defines the row type of the argument at this position, even if the argument is NULL.
    ///
    /// Errors: 42809 if there is none.
    pub fn table_of_argument(&self, position: u8) -> Result<Oid> {
        // SAFETY: the call is in progress for the lifetime of `self`. The server returns an invalid OID for a position
        // that the call does not have; the lookups use the system caches.
        let (table, kind) = unsafe {
            let argument = pg_sys::get_fn_expr_argtype((*self.call).flinfo, position.into());
            let table = pg_sys::get_typ_typrelid(argument);
            (table, pg_sys::get_rel_relkind(table))
        };
        if kind as u8 != pg_sys::RELKIND_RELATION {
            let message = "the argument is not a row of an ordinary table";
            return Err(Error::new(Code::ERRCODE_WRONG_OBJECT_TYPE, message));
        }
        Ok(table)
    }
}

// SAFETY: pgrx creates the argument from the call that it runs the function for, which outlives `'call`.
unsafe impl<'call> ArgAbi<'call> for FunctionCall<'call> {
    unsafe fn unbox_arg_unchecked(argument: Arg<'_, 'call>) -> Self {
        // SAFETY: it is created from the call itself, not from a value.
        let call = unsafe { argument.unbox_unchecked::<pg_sys::FunctionCallInfo>() };
        Self { call, lifetime: PhantomData }
    }

    fn is_virtual_arg() -> bool {
        true
    }
}

// SAFETY: same as pgrx's implementation for the pointer: it adds nothing to the function's SQL signature.
unsafe impl SqlTranslatable for FunctionCall<'_> {
    const TYPE_IDENT: &'static str = FunctionCallInfoBaseData::TYPE_IDENT;
    const TYPE_ORIGIN: TypeOrigin = FunctionCallInfoBaseData::TYPE_ORIGIN;
    const ARGUMENT_SQL: std::result::Result<SqlMappingRef, ArgumentError> =
        FunctionCallInfoBaseData::ARGUMENT_SQL;
    const RETURN_SQL: std::result::Result<ReturnsRef, ReturnsError> =
        FunctionCallInfoBaseData::RETURN_SQL;
}

/// The value of an argument.
///
/// # Safety
/// `fcinfo` is valid and has more than `index` arguments.
pub(in crate::pg) unsafe fn argument(fcinfo: pg_sys::FunctionCallInfo, index: usize) -> usize {
    // SAFETY: by the caller's promise.
    unsafe { (*(*fcinfo).args.as_ptr().add(index)).value.value() }
}
