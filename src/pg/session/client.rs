//! The client connection: rows and COPY data that pass through, and the client's next message.

use crate::error::{Error, Result};
use crate::pg::session::backend_state;
use pgrx::pg_sys::{self, errcodes::PgSqlErrorCode};
use std::ffi::{c_char, c_int};
use std::ptr;

unsafe extern "C-unwind" {
    static PqCommMethods: *const CommMethods;
    fn pq_startmsgread();
    fn pq_endmsgread();
    fn pq_peekbyte() -> c_int;
    fn pq_getbyte() -> c_int;
    fn pq_getmessage(s: pg_sys::StringInfo, maxlen: c_int) -> c_int;
    #[cfg(not(any(feature = "pg17", feature = "pg18")))]
    fn pq_buffer_has_data() -> bool;
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    fn pq_buffer_remaining_data() -> isize;
}

/// `PQcommMethods` of libpq/libpq.h, up to the last member used.
#[repr(C)]
struct CommMethods {
    comm_reset: *const (),
    flush: unsafe extern "C-unwind" fn() -> c_int,
    flush_if_writable: *const (),
    is_send_pending: *const (),
    putmessage: unsafe extern "C-unwind" fn(c_char, *const c_char, usize) -> c_int,
    putmessage_noblock: *const (),
}

const PQ_LARGE_MESSAGE_LIMIT: c_int = 0x3fff_ffff;

/// Sends a message to the client. A lost client is detected at the next check for interrupts, as everywhere in
/// PostgreSQL; the result of the call is irrelevant.
pub fn send(kind: u8, body: &[u8]) {
    // SAFETY: the method table is set before any statement runs; the closure owns nothing.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            ((*PqCommMethods).putmessage)(kind as c_char, body.as_ptr().cast(), body.len())
        });
    }
}

/// Flushes the output buffer.
pub fn flush() {
    // SAFETY: as above.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| ((*PqCommMethods).flush)());
    }
}

/// Processes interrupts: cancellation, timeouts, termination.
pub fn check_for_interrupts() {
    pgrx::check_for_interrupts!();
}

/// Whether this backend has a client (and is not a worker).
pub fn has_client() -> bool {
    // SAFETY: reads a global of this single-threaded backend.
    unsafe {
        pg_sys::whereToSendOutput == pg_sys::CommandDest::DestRemote
            && !pg_sys::MyProcPort.is_null()
    }
}

/// Whether the client has opened a transaction block (or an implicit one by sending several statements at once).
pub fn in_transaction_block() -> bool {
    backend_state::IsTransactionBlock() || backend_state::GetCurrentTransactionNestLevel() > 1
}

/// Whether the client's statement was sent as a simple query, which is a transaction of its own. The portal of an
/// Execute message is visible in `pg_cursors`, that of a simple query is not.
pub fn in_simple_query() -> bool {
    // SAFETY: reads a global; the active portal is valid while a statement runs.
    unsafe { !pg_sys::ActivePortal.is_null() && !(*pg_sys::ActivePortal).visible }
}

/// Whether the next message of the extended protocol has arrived and is Sync, so that the running Execute is the last
/// one of its implicit transaction. Never waits for the client.
pub fn next_message_is_sync() -> bool {
    // SAFETY: the peek reads only what is in the buffer already; no message is being read while a statement runs.
    unsafe {
        #[cfg(not(any(feature = "pg17", feature = "pg18")))]
        let buffered = pq_buffer_has_data();
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        let buffered = pq_buffer_remaining_data() > 0;
        if !buffered {
            return false;
        }
        pq_startmsgread();
        let next = pq_peekbyte();
        pq_endmsgread();
        next == c_int::from(b'S')
    }
}

/// Whether the client's encoding is the database's, so that text needs no conversion.
pub fn speaks_database_encoding() -> bool {
    backend_state::pg_get_client_encoding() == backend_state::GetDatabaseEncoding()
}

/// Name of the client's encoding.
pub fn encoding_name() -> String {
    // SAFETY: a static string.
    unsafe {
        std::ffi::CStr::from_ptr(pg_sys::pg_get_client_encoding_name())
            .to_string_lossy()
            .into_owned()
    }
}

/// Converts text from the database's encoding to the client's.
pub fn to_client_encoding(text: &[u8]) -> Vec<u8> {
    // SAFETY: the conversion reads `len` bytes and returns the argument itself or a palloc'd, NUL-terminated copy.
    unsafe {
        let source = text.as_ptr().cast::<c_char>();
        let converted = pg_sys::pg_server_to_any(
            source,
            text.len() as c_int,
            backend_state::pg_get_client_encoding(),
        );
        if ptr::eq(converted, source) {
            text.to_vec()
        } else {
            std::ffi::CStr::from_ptr(converted).to_bytes().to_vec()
        }
    }
}

/// Input from the client during `COPY … FROM STDIN`.
pub enum CopyInput<'a> {
    /// Data.
    Data(&'a [u8]),
    /// The end of the data.
    Done,
    /// The client aborted the COPY, with its reason.
    Fail(Vec<u8>),
}

/// Reads the client's COPY data one message at a time into a reused buffer.
pub struct CopyReader {
    buffer: pg_sys::StringInfo,
}

impl CopyReader {
    /// Creates a reader with an empty buffer.
    pub fn new() -> Self {
        // SAFETY: changes a variable of this backend and back; the buffer is freed by Drop.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
            let buffer = pg_sys::makeStringInfo();
            pg_sys::MemoryContextSwitchTo(before);
            Self { buffer }
        }
    }

    /// Waits for the next message. Errors: 08P01 for a message that is not allowed during COPY, 08006 if the client is
    /// gone.
    pub fn next(&mut self) -> Result<CopyInput<'_>> {
        loop {
            let (kind, complete) = self.read_message();
            if !complete {
                return Err(Error::new(
                    PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE,
                    "unexpected EOF on client connection with an open transaction",
                ));
            }
            // SAFETY: the buffer holds the message just read.
            let body = unsafe {
                std::slice::from_raw_parts(
                    (*self.buffer).data.cast::<u8>(),
                    (*self.buffer).len as usize,
                )
            };
            match kind {
                b'd' => return Ok(CopyInput::Data(body)),
                b'c' => return Ok(CopyInput::Done),
                b'f' => {
                    let reason = body.strip_suffix(b"\0").unwrap_or(body);
                    return Ok(CopyInput::Fail(reason.to_vec()));
                }
                // Flush and Sync are ignored during COPY, as PostgreSQL does.
                b'H' | b'S' => {}
                other => {
                    return Err(Error::new(
                        PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
                        format!("unexpected message type 0x{other:02X} during COPY from stdin"),
                    ));
                }
            }
        }
    }

    fn read_message(&mut self) -> (u8, bool) {
        let buffer = self.buffer;
        let mut result = (0u8, false);
        let out = &raw mut result;
        // Cancel must wait until a whole message is read, or the two sides lose step.
        // SAFETY: the closure owns nothing; `out` and `buffer` outlive it. An error of the read itself (out of memory)
        // unwinds with interrupts held; PostgreSQL's error recovery resets the count.
        unsafe {
            pg_sys::QueryCancelHoldoffCount += 1;
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                pq_startmsgread();
                let kind = pq_getbyte();
                if kind >= 0 {
                    let read = pq_getmessage(buffer, PQ_LARGE_MESSAGE_LIMIT);
                    *out = (kind as u8, read == 0);
                }
            });
            pg_sys::QueryCancelHoldoffCount -= 1;
        }
        check_for_interrupts();
        result
    }
}

impl Drop for CopyReader {
    fn drop(&mut self) {
        // SAFETY: both were allocated by `new`, for this reader alone.
        unsafe {
            pg_sys::pfree((*self.buffer).data.cast());
            pg_sys::pfree(self.buffer.cast());
        }
    }
}
