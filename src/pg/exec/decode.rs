//! Converts rows sent by a node (text format) to the values of a tuple slot.

use crate::error::{Error, Result};
use crate::pg::catalog::types::tuple_attribute;
use crate::pg::exec::value_reader::ValueReader;
use pgrx::pg_sys::{self, errcodes::PgSqlErrorCode};
use std::ffi::c_char;
use std::ptr;

/// Decodes the rows of one result.
pub struct RowDecoder {
    columns: Vec<ValueReader>,
    /// Values of the row, each terminated by NUL.
    text: Vec<u8>,
    /// Start of each value in `text`; `None` for NULL.
    starts: Vec<Option<usize>>,
}

impl RowDecoder {
    /// Errors: those of [`ValueReader::new`].
    ///
    /// # Safety
    /// `descriptor` is valid; the decoder is used within the memory context that is current now.
    pub(in crate::pg) unsafe fn new(descriptor: pg_sys::TupleDesc) -> Result<Self> {
        // SAFETY: lookups for valid attributes.
        let columns = unsafe {
            (0..(*descriptor).natts as usize)
                .map(|i| {
                    let attribute = tuple_attribute(descriptor, i);
                    ValueReader::new((*attribute).atttypid, (*attribute).atttypmod, false)
                })
                .collect::<Result<_>>()?
        };
        Ok(Self { columns, text: Vec::new(), starts: Vec::new() })
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
        let (columns, starts, text) =
            (self.columns.as_mut_ptr(), self.starts.as_ptr(), self.text.as_mut_ptr());
        let count = self.columns.len();
        // SAFETY: the closure owns nothing; pointers and count belong together; the slot has `count` columns.
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                let before = pg_sys::CurrentMemoryContext;
                pg_sys::CurrentMemoryContext = memory;
                for i in 0..count {
                    let value: *mut c_char = match *starts.add(i) {
                        Some(start) => text.add(start).cast(),
                        None => ptr::null_mut(),
                    };
                    *(*slot).tts_isnull.add(i) = value.is_null();
                    *(*slot).tts_values.add(i) = ValueReader::read(columns.add(i), value, 0);
                }
                pg_sys::CurrentMemoryContext = before;
            });
            pg_sys::ExecStoreVirtualTuple(slot);
        }
        Ok(())
    }

    fn split(&mut self, row: &[u8]) -> Result<()> {
        self.text.clear();
        self.starts.clear();
        for value in helios_core::frames::columns(row).map_err(|e| malformed(&e.to_string()))? {
            let value = value.map_err(|e| malformed(&e.to_string()))?;
            match value {
                Some(value) => {
                    self.starts.push(Some(self.text.len()));
                    self.text.extend_from_slice(value);
                    self.text.push(0);
                }
                None => self.starts.push(None),
            }
        }
        if self.starts.len() != self.columns.len() {
            return Err(malformed(&format!(
                "received {} columns instead of {}",
                self.starts.len(),
                self.columns.len()
            )));
        }
        Ok(())
    }
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
