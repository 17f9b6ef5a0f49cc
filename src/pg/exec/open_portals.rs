//! `helios.open_portals()`: several portals that see what the calling statement sees. Only the coordinator's own statements
//! open any.
//!
//! Nothing here has to be dropped when PostgreSQL raises an error, and no guard is around it, so that errors keep their fields.

use crate::pg::error::trampoline;
use crate::pg::exec::coordinators_calls::{self, CoordinatorHooks};
use pgrx::pg_sys::{self, Datum, Oid};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

unsafe extern "C-unwind" {
    // Not the bindings of pgrx: their guards would strip errors of their fields.
    fn palloc0(size: usize) -> *mut c_void;
    fn pg_detoast_datum(value: *mut pg_sys::text) -> *mut pg_sys::text;
    fn text_to_cstring(text: *const pg_sys::text) -> *mut c_char;
    fn deconstruct_array(
        array: *mut pg_sys::ArrayType,
        element: Oid,
        length: c_int,
        by_value: bool,
        alignment: c_char,
        elements: *mut *mut Datum,
        nulls: *mut *mut bool,
        count: *mut c_int,
    );
    fn getTypeInputInfo(of_type: Oid, function: *mut Oid, parameter: *mut Oid);
    fn getTypeBinaryInputInfo(of_type: Oid, function: *mut Oid, parameter: *mut Oid);
    fn OidInputFunctionCall(
        function: Oid,
        text: *mut c_char,
        parameter: Oid,
        modifier: i32,
    ) -> Datum;
    fn OidReceiveFunctionCall(
        function: Oid,
        bytes: pg_sys::StringInfo,
        parameter: Oid,
        modifier: i32,
    ) -> Datum;
    fn pg_verifymbstr(text: *const c_char, length: c_int, no_error: bool) -> bool;
    fn makeStringInfo() -> pg_sys::StringInfo;
    #[cfg(feature = "pg15")]
    fn appendBinaryStringInfo(to: pg_sys::StringInfo, bytes: *const c_char, length: c_int);
    #[cfg(not(feature = "pg15"))]
    fn appendBinaryStringInfo(to: pg_sys::StringInfo, bytes: *const c_void, length: c_int);
    fn PortalSetResultFormat(portal: pg_sys::Portal, count: c_int, formats: *mut i16);
    fn SPI_connect() -> c_int;
    fn SPI_finish() -> c_int;
    fn SPI_cursor_open_with_args(
        name: *const c_char,
        query: *const c_char,
        count: c_int,
        types: *mut Oid,
        values: *mut Datum,
        nulls: *const c_char,
        read_only: bool,
        options: c_int,
    ) -> pg_sys::Portal;
}

/// The elements of an array argument, and which of them are NULL.
struct Elements {
    values: *mut Datum,
    nulls: *mut bool,
    count: usize,
}

impl Elements {
    /// # Safety
    /// Argument `index` of the call is an array with elements of this type, and not NULL.
    unsafe fn of_argument(
        call: pg_sys::FunctionCallInfo,
        index: usize,
        (element, length, by_value, alignment): (Oid, c_int, bool, u8),
    ) -> Self {
        let (mut values, mut nulls, mut count) = (ptr::null_mut(), ptr::null_mut(), 0);
        // SAFETY: by the caller's promise.
        unsafe {
            let argument = (*(*call).args.as_ptr().add(index)).value;
            let array = pg_detoast_datum(argument.cast_mut_ptr());
            deconstruct_array(
                array.cast(),
                element,
                length,
                by_value,
                alignment as c_char,
                &mut values,
                &mut nulls,
                &mut count,
            );
        }
        Self { values, nulls, count: count as usize }
    }

    unsafe fn value(&self, index: usize) -> Option<Datum> {
        // SAFETY: called with indexes below the count.
        unsafe { (!*self.nulls.add(index)).then(|| *self.values.add(index)) }
    }
}

const TEXT: (Oid, c_int, bool, u8) = (pg_sys::TEXTOID, -1, false, b'i');
const OID: (Oid, c_int, bool, u8) = (pg_sys::OIDOID, 4, true, b'i');
const BYTEA: (Oid, c_int, bool, u8) = (pg_sys::BYTEAOID, -1, false, b'i');
const BOOL: (Oid, c_int, bool, u8) = (pg_sys::BOOLOID, 1, true, b'c');

/// Opens portals: their names, their queries, the formats of their columns (a text of `0` and `1` for each, empty where all are
/// text), and the types of the parameters of all, their values, and whether each is in binary form. They read with the calling statement's snapshot, and may not write.
///
/// # Safety
/// Called by the function manager for a strict function with these six arguments.
pub unsafe fn open_portals<H: CoordinatorHooks>(call: pg_sys::FunctionCallInfo) -> Datum {
    // SAFETY: by the caller's promise; arrays of other lengths than the first of their kind end early.
    unsafe {
        trampoline((), || coordinators_calls::admit_own::<H>("open_portals"));
        let names = Elements::of_argument(call, 0, TEXT);
        let queries = Elements::of_argument(call, 1, TEXT);
        let formats = Elements::of_argument(call, 2, TEXT);
        let types = Elements::of_argument(call, 3, OID);
        let values = Elements::of_argument(call, 4, BYTEA);
        let binary = Elements::of_argument(call, 5, BOOL);
        let count = types.count.min(values.count).min(binary.count);
        let oids = palloc0(size_of::<Oid>() * (count + 1)).cast::<Oid>();
        let datums = palloc0(size_of::<Datum>() * (count + 1)).cast::<Datum>();
        let nulls = palloc0(count + 1).cast::<c_char>();
        for i in 0..count {
            let oid = types.value(i).map_or(pg_sys::TEXTOID, |oid| Oid::from(oid.value() as u32));
            let is_binary = binary.value(i).is_some_and(|value| value.value() != 0);
            let given = values.value(i);
            *oids.add(i) = oid;
            *nulls.add(i) = if given.is_some() { b' ' } else { b'n' } as c_char;
            if let Some(given) = given {
                *datums.add(i) = parameter(oid, given, is_binary);
            }
        }
        SPI_connect();
        for i in 0..names.count.min(queries.count) {
            let (Some(name), Some(query)) = (names.value(i), queries.value(i)) else { continue };
            let portal = SPI_cursor_open_with_args(
                text_to_cstring(name.cast_mut_ptr()),
                text_to_cstring(query.cast_mut_ptr()),
                count as c_int,
                oids,
                datums,
                nulls,
                true,
                pg_sys::CURSOR_OPT_NO_SCROLL as c_int,
            );
            if i < formats.count
                && let Some(given) = formats.value(i)
            {
                set_formats(portal, CStr::from_ptr(text_to_cstring(given.cast_mut_ptr())));
            }
        }
        SPI_finish();
    }
    Datum::from(0)
}

/// Lets the portal give its columns in these formats; an empty text says nothing, and one of another length is not for it.
unsafe fn set_formats(portal: pg_sys::Portal, digits: &CStr) {
    let digits = digits.to_bytes();
    // SAFETY: the portal is open and has a descriptor; the formats live as long as its memory.
    unsafe {
        let columns = (*portal).tupDesc;
        if digits.is_empty() || columns.is_null() || (*columns).natts as usize != digits.len() {
            return;
        }
        let codes = palloc0(size_of::<i16>() * digits.len()).cast::<i16>();
        for (i, &digit) in digits.iter().enumerate() {
            *codes.add(i) = i16::from(digit == b'1');
        }
        PortalSetResultFormat(portal, digits.len() as c_int, codes);
    }
}

/// A parameter's value from the form in which a statement carries it.
unsafe fn parameter(of_type: Oid, given: Datum, binary: bool) -> Datum {
    // SAFETY: called with the value of a bytea; the functions are those of the type.
    unsafe {
        let bytes = pg_detoast_datum(given.cast_mut_ptr());
        let (start, length) = (pgrx::vardata_any(bytes), pgrx::varsize_any_exhdr(bytes));
        let buffer = makeStringInfo();
        appendBinaryStringInfo(buffer, start.cast(), length as c_int);
        let (mut function, mut io_parameter) = (Oid::INVALID, Oid::INVALID);
        if binary {
            getTypeBinaryInputInfo(of_type, &mut function, &mut io_parameter);
            OidReceiveFunctionCall(function, buffer, io_parameter, -1)
        } else {
            // As for what a client sends.
            pg_verifymbstr((*buffer).data, (*buffer).len, false);
            getTypeInputInfo(of_type, &mut function, &mut io_parameter);
            OidInputFunctionCall(function, (*buffer).data, io_parameter, -1)
        }
    }
}
