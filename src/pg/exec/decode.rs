//! Converts rows sent by a node to the values of a tuple slot.
//!
//! Types whose text depends on settings (`extra_float_digits`, `DateStyle`, …) are asked for in binary form, which is exact.

use crate::error::{Error, Result};
use crate::pg::catalog::types::tuple_attribute;
use pgrx::pg_sys::{self, Oid, errcodes::PgSqlErrorCode};
use std::ffi::c_char;
use std::ptr;

unsafe extern "C-unwind" {
    // Called for every column of every row, so a single guard protects the whole row.
    fn InputFunctionCall(
        function: *mut pg_sys::FmgrInfo,
        text: *mut c_char,
        element_type: Oid,
        typmod: i32,
    ) -> pg_sys::Datum;
    fn ReceiveFunctionCall(
        function: *mut pg_sys::FmgrInfo,
        bytes: pg_sys::StringInfo,
        element_type: Oid,
        typmod: i32,
    ) -> pg_sys::Datum;
}

struct Column {
    function: pg_sys::FmgrInfo,
    element_type: Oid,
    typmod: i32,
    binary: bool,
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
    /// Values of the row, each terminated by NUL.
    text: Vec<u8>,
    /// Start and length of each value in `text`; `None` for NULL.
    values: Vec<Option<(usize, usize)>>,
}

impl RowDecoder {
    /// # Safety
    /// `descriptor` is valid; the decoder is used within the memory context that is current now.
    pub(in crate::pg) unsafe fn new(descriptor: pg_sys::TupleDesc, format: RowFormat) -> Self {
        // SAFETY: lookups for valid attributes; fn_mcxt becomes the current memory context.
        let columns = unsafe {
            (0..(*descriptor).natts as usize)
                .map(|i| {
                    let attribute = tuple_attribute(descriptor, i);
                    let of_type = (*attribute).atttypid;
                    let binary = format == RowFormat::Exact && is_read_in_binary(of_type);
                    let (mut input, mut element_type) = (Oid::INVALID, Oid::INVALID);
                    if binary {
                        pg_sys::getTypeBinaryInputInfo(of_type, &mut input, &mut element_type);
                    } else {
                        pg_sys::getTypeInputInfo(of_type, &mut input, &mut element_type);
                    }
                    let mut function = pg_sys::FmgrInfo::default();
                    pg_sys::fmgr_info(input, &mut function);
                    Column { function, element_type, typmod: (*attribute).atttypmod, binary }
                })
                .collect()
        };
        Self { columns, text: Vec::new(), values: Vec::new() }
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
    /// # Safety
    /// `slot` is an empty virtual slot with the descriptor of [`RowDecoder::new`]; `memory` is valid.
    pub(in crate::pg) unsafe fn decode(
        &mut self,
        row: &[u8],
        slot: *mut pg_sys::TupleTableSlot,
        memory: pg_sys::MemoryContext,
    ) -> Result<()> {
        self.split(row)?;
        let (columns, values, text) =
            (self.columns.as_mut_ptr(), self.values.as_ptr(), self.text.as_mut_ptr());
        let count = self.columns.len();
        // SAFETY: the closure owns nothing; pointers and count belong together; the slot has `count` columns.
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                let before = pg_sys::CurrentMemoryContext;
                pg_sys::CurrentMemoryContext = memory;
                for i in 0..count {
                    let column = columns.add(i);
                    let value = *values.add(i);
                    *(*slot).tts_isnull.add(i) = value.is_none();
                    *(*slot).tts_values.add(i) = value_of(column, value, text);
                }
                pg_sys::CurrentMemoryContext = before;
            });
            pg_sys::ExecStoreVirtualTuple(slot);
        }
        Ok(())
    }

    fn split(&mut self, row: &[u8]) -> Result<()> {
        self.text.clear();
        self.values.clear();
        for value in helios_core::frames::columns(row).map_err(|e| malformed(&e.to_string()))? {
            let value = value.map_err(|e| malformed(&e.to_string()))?;
            match value {
                Some(value) => {
                    self.values.push(Some((self.text.len(), value.len())));
                    self.text.extend_from_slice(value);
                    self.text.push(0);
                }
                None => self.values.push(None),
            }
        }
        if self.values.len() != self.columns.len() {
            return Err(malformed(&format!(
                "received {} columns instead of {}",
                self.values.len(),
                self.columns.len()
            )));
        }
        Ok(())
    }
}

/// A value from its bytes in `text`.
///
/// # Safety
/// The bytes are there, with a NUL behind them; errors of the server's leave this without an unwinding.
unsafe fn value_of(
    column: *mut Column,
    value: Option<(usize, usize)>,
    text: *mut u8,
) -> pg_sys::Datum {
    // SAFETY: by the caller's promise; a receive function reads its buffer only.
    unsafe {
        let (function, element_type) = (&raw mut (*column).function, (*column).element_type);
        let typmod = (*column).typmod;
        if !(*column).binary {
            let start = value.map_or(ptr::null_mut(), |(start, _)| text.add(start).cast());
            return InputFunctionCall(function, start, element_type, typmod);
        }
        let Some((start, length)) = value else {
            return ReceiveFunctionCall(function, ptr::null_mut(), element_type, typmod);
        };
        let mut bytes = pg_sys::StringInfoData {
            data: text.add(start).cast(),
            len: length as i32,
            maxlen: length as i32 + 1,
            cursor: 0,
        };
        ReceiveFunctionCall(function, &raw mut bytes, element_type, typmod)
    }
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

fn malformed(what: &str) -> Error {
    Error::new(
        PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
        "columns of a row received from a node do not match the local definitions",
    )
    .detail(what)
    .hint("To see which definitions differ, run SELECT * FROM helios_check_cluster().")
}
