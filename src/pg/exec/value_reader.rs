//! Reads a value of any type from its text or binary form without the constraints of domains.
//!
//! PostgreSQL checks a value when it becomes one of a domain, and never when it is read. The input functions of domains, and of
//! arrays and composites that contain domains, check it each time, which would run the domain owner's code with the reader's
//! privileges. So values of a domain are read as those of its base type, and of what contains domains: arrays of base types,
//! and records with columns of base types, which get their types afterwards. What is nested deeper is read as text first.

use crate::error::{Error, Result};
use crate::pg::catalog::privileges;
use crate::pg::catalog::types::{self, is_built_in, tuple_attribute};
use pgrx::pg_sys::{self, Datum, Oid, errcodes::PgSqlErrorCode as Code};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

unsafe extern "C-unwind" {
    // Called for every value, so a single guard protects a whole row.
    fn InputFunctionCall(
        function: *mut pg_sys::FmgrInfo,
        text: *mut c_char,
        element_type: Oid,
        typmod: i32,
    ) -> Datum;
    fn ReceiveFunctionCall(
        function: *mut pg_sys::FmgrInfo,
        bytes: pg_sys::StringInfo,
        element_type: Oid,
        typmod: i32,
    ) -> Datum;
    fn palloc(size: usize) -> *mut c_void;
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
    fn construct_md_array(
        elements: *mut Datum,
        nulls: *mut bool,
        ndims: c_int,
        dims: *mut c_int,
        lower_bounds: *mut c_int,
        element: Oid,
        length: c_int,
        by_value: bool,
        alignment: c_char,
    ) -> *mut pg_sys::ArrayType;
    fn heap_deform_tuple(
        tuple: pg_sys::HeapTuple,
        columns: pg_sys::TupleDesc,
        values: *mut Datum,
        nulls: *mut bool,
    );
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    fn heap_form_tuple(
        columns: pg_sys::TupleDesc,
        values: *mut Datum,
        nulls: *mut bool,
    ) -> pg_sys::HeapTuple;
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    fn heap_form_tuple(
        columns: pg_sys::TupleDesc,
        values: *const Datum,
        nulls: *const bool,
    ) -> pg_sys::HeapTuple;
    fn heap_copy_tuple_as_datum(tuple: pg_sys::HeapTuple, columns: pg_sys::TupleDesc) -> Datum;
}

/// Reads values of one type.
pub(super) struct ValueReader {
    function: pg_sys::FmgrInfo,
    /// The type's OID, or that of its elements, as input functions take it.
    parameter: Oid,
    typmod: i32,
    binary: bool,
    form: Form,
}

/// What the function gives.
enum Form {
    /// The value.
    Value,
    /// An array with elements of the base type of this domain.
    Array(Oid),
    /// An array with the elements as text.
    Texts(Box<Elements>),
    /// A record with columns of other types.
    Record(Box<Record>),
}

/// Elements of an array, which are read one by one.
struct Elements {
    of_type: Oid,
    length: c_int,
    by_value: bool,
    alignment: c_char,
    reader: ValueReader,
}

/// A row whose type differs from how it is read.
struct Record {
    /// The columns as they are read.
    read: pg_sys::TupleDesc,
    /// The columns of the type.
    columns: pg_sys::TupleDesc,
    /// How those are read on that are text at first.
    texts: Vec<(usize, ValueReader)>,
}

impl ValueReader {
    /// A reader of values of this type; `binary` only if [`is_read_in_binary`](super::decode::is_read_in_binary).
    ///
    /// Errors: 0A000 if values of the type cannot be read without running constraints of domains.
    ///
    /// # Safety
    /// The reader is used within the memory context that is current now.
    pub(super) unsafe fn new(of_type: Oid, typmod: i32, binary: bool) -> Result<Self> {
        // SAFETY: look-ups of an existing type.
        unsafe {
            let (base, typmod) = base_of(of_type, typmod);
            if !contains_domains(base)? {
                return Ok(Self::of_base(base, typmod, binary));
            }
            let element = pg_sys::get_element_type(base);
            if element == Oid::INVALID { Self::of_row(base) } else { Self::of_array(element) }
        }
    }

    /// # Safety
    /// As for [`Self::new`]; nothing in the type is a domain.
    unsafe fn of_base(of_type: Oid, typmod: i32, binary: bool) -> Self {
        let (mut input, mut parameter) = (Oid::INVALID, Oid::INVALID);
        let mut function = pg_sys::FmgrInfo::default();
        // SAFETY: look-ups of an existing type; fn_mcxt becomes the current memory context.
        unsafe {
            if binary {
                pg_sys::getTypeBinaryInputInfo(of_type, &mut input, &mut parameter);
            } else {
                pg_sys::getTypeInputInfo(of_type, &mut input, &mut parameter);
            }
            pg_sys::fmgr_info(input, &mut function);
        }
        Self { function, parameter, typmod, binary, form: Form::Value }
    }

    /// # Safety
    /// As for [`Self::new`].
    unsafe fn of_array(element: Oid) -> Result<Self> {
        // SAFETY: look-ups of an existing type.
        unsafe {
            let mut array = Self::of_base(pg_sys::TEXTARRAYOID, -1, false);
            let reader = Self::new(element, -1, false)?;
            array.form = if matches!(reader.form, Form::Value) {
                (array.parameter, array.typmod) = base_of(element, -1);
                Form::Array(element)
            } else {
                let (mut length, mut by_value, mut alignment) = (0, false, 0);
                pg_sys::get_typlenbyvalalign(element, &mut length, &mut by_value, &mut alignment);
                let length = c_int::from(length);
                let of_type = element;
                Form::Texts(Box::new(Elements { of_type, length, by_value, alignment, reader }))
            };
            Ok(array)
        }
    }

    /// # Safety
    /// As for [`Self::new`]; the type is a composite.
    unsafe fn of_row(of_type: Oid) -> Result<Self> {
        // SAFETY: the descriptors are copies, in the current memory context; the copy `read` is without constraints, so that
        // PostgreSQL finds a record type that it knows already.
        unsafe {
            let columns = pg_sys::lookup_rowtype_tupdesc_copy(of_type, -1);
            let read = pg_sys::CreateTupleDescCopy(columns);
            let mut texts = Vec::new();
            for i in 0..(*columns).natts as usize {
                let attribute = tuple_attribute(columns, i);
                if (*attribute).attisdropped {
                    continue;
                }
                let of_type = (*attribute).atttypid;
                let (mut base, mut typmod) = base_of(of_type, (*attribute).atttypmod);
                if contains_domains(base)? {
                    texts.push((i, Self::new(of_type, (*attribute).atttypmod, false)?));
                    (base, typmod) = (pg_sys::TEXTOID, -1);
                }
                if base != of_type {
                    let number = i as i16 + 1;
                    pg_sys::TupleDescInitEntry(read, number, ptr::null(), base, typmod, 0);
                }
            }
            ((*read).tdtypeid, (*read).tdtypmod) = (pg_sys::RECORDOID, -1);
            pg_sys::assign_record_type_typmod(read);
            let mut row = Self::of_base(pg_sys::RECORDOID, (*read).tdtypmod, false);
            row.form = Form::Record(Box::new(Record { read, columns, texts }));
            Ok(row)
        }
    }

    /// Reads a value from a C string, or from binary form, with so many bytes; null for NULL.
    ///
    /// # Safety
    /// The bytes are there, with a NUL behind them; errors of the server's leave this without an unwinding.
    pub(super) unsafe fn read(this: *mut Self, bytes: *mut c_char, length: usize) -> Datum {
        // SAFETY: by the caller's promise; a receive function reads its buffer only.
        unsafe {
            let (function, parameter) = (&raw mut (*this).function, (*this).parameter);
            let typmod = (*this).typmod;
            if !(*this).binary {
                let value = InputFunctionCall(function, bytes, parameter, typmod);
                return if bytes.is_null() { value } else { typed(&raw mut (*this).form, value) };
            }
            if bytes.is_null() {
                return ReceiveFunctionCall(function, ptr::null_mut(), parameter, typmod);
            }
            let mut buffer = pg_sys::StringInfoData {
                data: bytes,
                len: length as i32,
                maxlen: length as i32 + 1,
                cursor: 0,
            };
            ReceiveFunctionCall(function, &raw mut buffer, parameter, typmod)
        }
    }

    /// Reads a value from text.
    ///
    /// # Safety
    /// As for [`Self::new`].
    pub(super) unsafe fn read_text(&mut self, text: &CStr) -> Datum {
        let (this, text) = (ptr::from_mut(self), text.as_ptr().cast_mut());
        // SAFETY: the closure owns nothing; text is not changed.
        unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| Self::read(this, text, 0)) }
    }
}

/// The type under all domains, with its type modifier.
///
/// # Safety
/// The type exists.
pub(super) unsafe fn base_of(of_type: Oid, mut typmod: i32) -> (Oid, i32) {
    if is_built_in(of_type) {
        return (of_type, typmod);
    }
    // SAFETY: by the caller's promise.
    (unsafe { pg_sys::getBaseTypeAndTypmod(of_type, &mut typmod) }, typmod)
}

/// Whether the input function of a type that is no domain itself calls those of domains.
///
/// Errors: 0A000 for ranges over domains with constraints.
///
/// # Safety
/// The type exists.
unsafe fn contains_domains(base: Oid) -> Result<bool> {
    if is_built_in(base) {
        return Ok(false);
    }
    // SAFETY: look-ups of existing types.
    unsafe {
        match pg_sys::get_typtype(base) as u8 {
            pg_sys::TYPTYPE_RANGE => check_range(base, base).map(|()| false),
            pg_sys::TYPTYPE_MULTIRANGE => {
                check_range(base, pg_sys::get_multirange_range(base)).map(|()| false)
            }
            _ => types::parts_of(base).try_fold(false, |found, part| {
                is_or_contains_domain(part).map(|contains| found || contains)
            }),
        }
    }
}

/// # Safety
/// The type exists.
unsafe fn is_or_contains_domain(of_type: Oid) -> Result<bool> {
    // SAFETY: by the caller's promise.
    unsafe {
        let (base, _) = base_of(of_type, -1);
        Ok(contains_domains(base)? || base != of_type)
    }
}

/// # Safety
/// The types exist.
unsafe fn check_range(of_type: Oid, range: Oid) -> Result<()> {
    // SAFETY: by the caller's promise.
    let subtype = unsafe { pg_sys::get_range_subtype(range) };
    // SAFETY: as above.
    if unsafe { !is_or_contains_domain(subtype)? || runs_trusted_code(subtype)? } {
        return Ok(());
    }
    // SAFETY: as above.
    let base = types::qualified_name(unsafe { base_of(subtype, -1) }.0);
    let (name, subtype) = (types::qualified_name(of_type), types::qualified_name(subtype));
    let message = format!("cannot read values of type {name} from a node");
    Err(Error::new(Code::ERRCODE_FEATURE_NOT_SUPPORTED, message)
        .detail(format!("That would run constraints of {subtype}, which reading must not."))
        .hint(format!("Select the value alone, or define a range with the subtype {base}.")))
}

/// Whether code of a domain, and of those that it is based on, may run for the current user.
///
/// # Safety
/// The type exists.
unsafe fn runs_trusted_code(domain: Oid) -> Result<bool> {
    let base = privileges::base_of_trusted_domain(domain);
    // SAFETY: by the caller's promise.
    base.map_or(Ok(false), |base| unsafe { contains_domains(base) }.map(|found| !found))
}

/// Gives the function's result its type.
///
/// # Safety
/// As for [`ValueReader::read`].
unsafe fn typed(form: *mut Form, value: Datum) -> Datum {
    // SAFETY: the value has the form, and nobody else has it.
    unsafe {
        match &mut *form {
            Form::Value => value,
            Form::Array(element) => {
                (*value.cast_mut_ptr::<pg_sys::ArrayType>()).elemtype = *element;
                value
            }
            Form::Texts(elements) => array_of(&raw mut **elements, value.cast_mut_ptr()),
            Form::Record(record) => row_of(&raw mut **record, value.cast_mut_ptr()),
        }
    }
}

/// # Safety
/// As for [`typed`].
unsafe fn array_of(elements: *mut Elements, texts: *mut pg_sys::ArrayType) -> Datum {
    let (mut values, mut nulls, mut count) = (ptr::null_mut(), ptr::null_mut(), 0);
    // SAFETY: an array of text; its dimensions and then its lower bounds are behind its header.
    unsafe {
        let alignment = b'i' as c_char;
        deconstruct_array(
            texts,
            pg_sys::TEXTOID,
            -1,
            false,
            alignment,
            &mut values,
            &mut nulls,
            &mut count,
        );
        for i in (0..count as usize).filter(|&i| !*nulls.add(i)) {
            *values.add(i) = read_on(&raw mut (*elements).reader, *values.add(i));
        }
        let dims = texts.add(1).cast::<c_int>();
        let array = construct_md_array(
            values,
            nulls,
            (*texts).ndim,
            dims,
            dims.add((*texts).ndim as usize),
            (*elements).of_type,
            (*elements).length,
            (*elements).by_value,
            (*elements).alignment,
        );
        Datum::from(array)
    }
}

/// # Safety
/// As for [`typed`].
unsafe fn row_of(record: *mut Record, row: pg_sys::HeapTupleHeader) -> Datum {
    // SAFETY: the row has the columns that were read; those of the type differ in their types only.
    unsafe {
        let count = (*(*record).read).natts as usize;
        let values = palloc(count * size_of::<Datum>()).cast::<Datum>();
        let nulls = palloc(count).cast::<bool>();
        let mut tuple = pg_sys::HeapTupleData {
            t_len: pgrx::varsize_4b(row.cast()) as u32,
            t_data: row,
            ..Default::default()
        };
        heap_deform_tuple(&mut tuple, (*record).read, values, nulls);
        let (texts, length) = ((*record).texts.as_mut_ptr(), (*record).texts.len());
        for i in 0..length {
            let (column, reader) = &mut *texts.add(i);
            if !*nulls.add(*column) {
                *values.add(*column) = read_on(reader, *values.add(*column));
            }
        }
        let tuple = heap_form_tuple((*record).columns, values, nulls);
        heap_copy_tuple_as_datum(tuple, (*record).columns)
    }
}

/// # Safety
/// As for [`ValueReader::read`], with a text.
unsafe fn read_on(reader: *mut ValueReader, text: Datum) -> Datum {
    // SAFETY: by the caller's promise.
    unsafe { ValueReader::read(reader, text_to_cstring(text.cast_mut_ptr()), 0) }
}
