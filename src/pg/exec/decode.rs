//! Converts rows sent by a node to the values of a tuple slot.
//!
//! Types whose text depends on settings (`extra_float_digits`, `DateStyle`, …) are asked for in binary form, which is exact.

use crate::error::{Error, Result};
use crate::pg::catalog::types::tuple_attribute;
use crate::pg::exec::exact_text;
use crate::pg::exec::value_reader::{self, ValueReader};
use pgrx::pg_sys::{self, Oid, errcodes::PgSqlErrorCode};
use std::ffi::{c_int, c_void};
use std::ptr;

unsafe extern "C-unwind" {
    // Called for every row; none of them raises errors.
    fn ExecStoreVirtualTuple(slot: *mut pg_sys::TupleTableSlot) -> *mut pg_sys::TupleTableSlot;
    fn MemoryContextAllocExtended(
        memory: pg_sys::MemoryContext,
        size: usize,
        flags: c_int,
    ) -> *mut c_void;
}

struct Column {
    reading: Reading,
    reader: ValueReader,
    binary: bool,
    /// Whether its values are records without a type, or arrays of them.
    anonymous: bool,
}

/// How a value is made from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// A byte that is 0 or 1.
    Bool,
    /// The value itself, in so many bytes.
    Fixed(usize),
    /// Text as it is.
    Text,
    /// By the type's input or receive function.
    Function,
}

/// The form in which a node sends the rows that are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pg) enum RowFormat {
    /// Every value as text.
    Text,
    /// Each value in the form that [`RowDecoder::formats`] gives.
    Exact,
}

/// Decodes the rows of one result.
pub struct RowDecoder {
    columns: Vec<Column>,
    /// Values of the row that functions read, each terminated by NUL.
    text: Vec<u8>,
    /// Column, start and length of each value in `text`; `None` for NULL.
    values: Vec<(usize, Option<(usize, usize)>)>,
}

impl RowDecoder {
    /// Errors: those of [`ValueReader::new`].
    ///
    /// # Safety
    /// `descriptor` is valid; the decoder is used within the memory context that is current now.
    pub(in crate::pg) unsafe fn new(
        descriptor: pg_sys::TupleDesc,
        format: RowFormat,
    ) -> Result<Self> {
        // SAFETY: look-ups for valid attributes.
        let columns = unsafe {
            (0..(*descriptor).natts as usize)
                .map(|i| {
                    let attribute = tuple_attribute(descriptor, i);
                    let (of_type, typmod) = ((*attribute).atttypid, (*attribute).atttypmod);
                    let binary = format == RowFormat::Exact && is_read_in_binary(of_type);
                    if !binary {
                        exact_text::check(of_type)?;
                    }
                    let reader = ValueReader::new(of_type, typmod, binary)?;
                    let (base, typmod) = value_reader::base_of(of_type, typmod);
                    let reading = reading_of(base, typmod, binary);
                    let anonymous = matches!(base, pg_sys::RECORDOID | pg_sys::RECORDARRAYOID);
                    Ok(Column { reading, reader, binary, anonymous })
                })
                .collect::<Result<_>>()?
        };
        Ok(Self { columns, text: Vec::new(), values: Vec::new() })
    }

    /// Checks the encoding of values in text form, for rows that no other server has checked.
    pub(in crate::pg) fn check_encoding(&self, row: &[u8]) -> Result<()> {
        let values = helios_core::frames::columns(row).map_err(|e| malformed(&e.to_string()))?;
        for (column, value) in self.columns.iter().zip(values) {
            let Some(text) = value.map_err(|e| malformed(&e.to_string()))? else { continue };
            if !column.binary {
                // SAFETY: so many bytes are there; raises an error for text that no client could send.
                unsafe {
                    pg_sys::pg_verifymbstr(text.as_ptr().cast(), text.len() as c_int, false);
                }
            }
        }
        Ok(())
    }

    /// The format codes to ask for, one for each column; none if all of them are text.
    pub fn formats(&self) -> Vec<i16> {
        if self.columns.iter().any(|column| column.binary) {
            self.columns.iter().map(|column| i16::from(column.binary)).collect()
        } else {
            Vec::new()
        }
    }

    /// Stores a row in `slot`, with its values in `memory`.
    ///
    /// Errors: 0A000 for a record without a type.
    ///
    /// # Safety
    /// `slot` is an empty virtual slot with the descriptor of [`RowDecoder::new`]; `memory` is valid.
    pub(in crate::pg) unsafe fn decode(
        &mut self,
        row: &[u8],
        slot: *mut pg_sys::TupleTableSlot,
        memory: pg_sys::MemoryContext,
    ) -> Result<()> {
        self.text.clear();
        self.values.clear();
        let mut count = 0;
        for value in helios_core::frames::columns(row).map_err(|e| malformed(&e.to_string()))? {
            let value = value.map_err(|e| malformed(&e.to_string()))?;
            let Some(column) = self.columns.get(count) else { return Err(self.wrong_number(row)) };
            // SAFETY: the slot has as many columns as the decoder.
            unsafe {
                let (datum, is_null) =
                    ((*slot).tts_values.add(count), (*slot).tts_isnull.add(count));
                match value {
                    Some(value) if column.anonymous && value != b"{}" => return Err(anonymous()),
                    _ if column.reading == Reading::Function => {
                        self.values
                            .push((count, value.map(|value| (self.text.len(), value.len()))));
                        if let Some(value) = value {
                            self.text.extend_from_slice(value);
                            self.text.push(0);
                        }
                    }
                    Some(value) => {
                        *is_null = false;
                        *datum = direct_value(column.reading, value, memory)?;
                    }
                    None => {
                        *is_null = true;
                        *datum = pg_sys::Datum::from(0);
                    }
                }
            }
            count += 1;
        }
        if count != self.columns.len() {
            return Err(self.wrong_number(row));
        }
        // SAFETY: as above; the slot's values are complete then.
        unsafe {
            if !self.values.is_empty() {
                self.call_functions(slot, memory);
            }
            ExecStoreVirtualTuple(slot);
        }
        Ok(())
    }

    /// # Safety
    /// As for [`Self::decode`].
    unsafe fn call_functions(
        &mut self,
        slot: *mut pg_sys::TupleTableSlot,
        memory: pg_sys::MemoryContext,
    ) {
        let (columns, values, text) =
            (self.columns.as_mut_ptr(), self.values.as_ptr(), self.text.as_mut_ptr());
        let count = self.values.len();
        // SAFETY: the closure owns nothing; pointers and count belong together; the slot has the columns.
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                let before = pg_sys::CurrentMemoryContext;
                pg_sys::CurrentMemoryContext = memory;
                for i in 0..count {
                    let (number, value) = *values.add(i);
                    let reader = &raw mut (*columns.add(number)).reader;
                    let (start, length) = value
                        .map_or((ptr::null_mut(), 0), |(start, length)| (text.add(start), length));
                    *(*slot).tts_isnull.add(number) = value.is_none();
                    *(*slot).tts_values.add(number) =
                        ValueReader::read(reader, start.cast(), length);
                }
                pg_sys::CurrentMemoryContext = before;
            });
        }
    }

    fn wrong_number(&self, row: &[u8]) -> Error {
        let received = helios_core::frames::columns(row).map_or(0, Iterator::count);
        malformed(&format!("received {received} columns instead of {}", self.columns.len()))
    }
}

/// How values are read that are sent in binary form, or as text.
fn reading_of(of_type: Oid, typmod: i32, binary: bool) -> Reading {
    match of_type {
        pg_sys::TEXTOID if !binary => Reading::Text,
        pg_sys::VARCHAROID if !binary && typmod < 0 => Reading::Text,
        _ if !binary => Reading::Function,
        pg_sys::BOOLOID => Reading::Bool,
        pg_sys::INT2OID => Reading::Fixed(2),
        pg_sys::INT4OID | pg_sys::FLOAT4OID | pg_sys::DATEOID => Reading::Fixed(4),
        pg_sys::INT8OID
        | pg_sys::FLOAT8OID
        | pg_sys::MONEYOID
        | pg_sys::TIMEOID
        | pg_sys::TIMESTAMPOID
        | pg_sys::TIMESTAMPTZOID => Reading::Fixed(8),
        _ => Reading::Function,
    }
}

/// A value that needs no function of its type.
///
/// # Safety
/// `memory` is valid.
unsafe fn direct_value(
    reading: Reading,
    bytes: &[u8],
    memory: pg_sys::MemoryContext,
) -> Result<pg_sys::Datum> {
    let number = match (reading, bytes) {
        (Reading::Text, _) => {
            // SAFETY: by the caller's promise.
            return unsafe { text_value(bytes, memory) };
        }
        (Reading::Bool, [byte]) => return Ok(pg_sys::Datum::from(*byte != 0)),
        (Reading::Fixed(2), _) => bytes.try_into().ok().map(|b| i64::from(i16::from_be_bytes(b))),
        (Reading::Fixed(4), _) => bytes.try_into().ok().map(|b| i64::from(i32::from_be_bytes(b))),
        (Reading::Fixed(8), _) => bytes.try_into().ok().map(i64::from_be_bytes),
        _ => None,
    };
    // Types of fixed length are passed by value; those with a sign are extended, as PostgreSQL's macros do.
    number.map(pg_sys::Datum::from).ok_or_else(|| malformed("a value has an unexpected length"))
}

/// # Safety
/// `memory` is valid.
unsafe fn text_value(bytes: &[u8], memory: pg_sys::MemoryContext) -> Result<pg_sys::Datum> {
    const HEADER: usize = size_of::<i32>();
    /// PostgreSQL's limit of an allocation.
    const LONGEST: usize = 0x3fff_ffff;
    let size = bytes.len() + HEADER;
    let place = if size > LONGEST {
        ptr::null_mut()
    } else {
        // SAFETY: by the caller's promise; the size is permitted, and a lack of memory gives null.
        unsafe {
            MemoryContextAllocExtended(memory, size, pg_sys::MCXT_ALLOC_NO_OOM as i32).cast::<u8>()
        }
    };
    if place.is_null() {
        return Err(Error::new(PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY, "out of memory")
            .detail(format!("Failed on a value of {} bytes that a node has sent.", bytes.len())));
    }
    // SAFETY: so many bytes were allocated.
    unsafe {
        pgrx::set_varsize_4b(place.cast(), size as i32);
        ptr::copy_nonoverlapping(bytes.as_ptr(), place.add(HEADER), bytes.len());
    }
    Ok(pg_sys::Datum::from(place))
}

/// Whether values of a type are asked for in binary form: it is the same on every server, and exact where the text may not be.
pub(in crate::pg) fn is_read_in_binary(of_type: Oid) -> bool {
    // SAFETY: syscache look-ups; an invalid OID for what is no array.
    let base = unsafe {
        let base = pg_sys::getBaseType(of_type);
        let element = pg_sys::get_element_type(base);
        if element == Oid::INVALID { base } else { element }
    };
    matches!(
        base,
        pg_sys::BOOLOID
            | pg_sys::INT2OID
            | pg_sys::INT4OID
            | pg_sys::INT8OID
            | pg_sys::FLOAT4OID
            | pg_sys::FLOAT8OID
            | pg_sys::NUMERICOID
            | pg_sys::MONEYOID
            | pg_sys::BYTEAOID
            | pg_sys::UUIDOID
            | pg_sys::DATEOID
            | pg_sys::TIMEOID
            | pg_sys::TIMETZOID
            | pg_sys::TIMESTAMPOID
            | pg_sys::TIMESTAMPTZOID
            | pg_sys::INTERVALOID
            | pg_sys::POINTOID
            | pg_sys::LSEGOID
            | pg_sys::PATHOID
            | pg_sys::BOXOID
            | pg_sys::POLYGONOID
            | pg_sys::LINEOID
            | pg_sys::CIRCLEOID
            | pg_sys::DATERANGEOID
            | pg_sys::TSRANGEOID
            | pg_sys::TSTZRANGEOID
            | pg_sys::DATEMULTIRANGEOID
            | pg_sys::TSMULTIRANGEOID
            | pg_sys::TSTZMULTIRANGEOID
    )
}

/// Empties a slot (`ExecClearTuple`, which is an inline function).
///
/// # Safety
/// `slot` is valid.
pub(in crate::pg) unsafe fn clear(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: by the caller's promise; every slot type has the function.
    unsafe {
        if let Some(clear) = (*(*slot).tts_ops).clear {
            clear(slot);
        }
    }
}

/// The error for a record whose columns only the node knows.
fn anonymous() -> Error {
    Error::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        "cannot read a record without a type from a node",
    )
    .detail("Its columns are unknown to this server, where the row is used. An alias of a subquery or of a view is such a record.")
    .hint("Name the columns, use the type of a table, or cast the record to text or jsonb.")
}

fn malformed(what: &str) -> Error {
    Error::new(
        PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
        "columns of a row received from a node do not match the local definitions",
    )
    .detail(what)
    .hint("To see which definitions differ, run SELECT * FROM helios_check_cluster().")
}
