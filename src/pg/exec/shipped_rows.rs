//! Rows that a coordinator sends to this server for a statement of its own: `helios.receive_rows()`, `helios.shipped_rows()`
//! and `helios.forget_rows()`.
//!
//! They belong to the session and to the transaction or savepoint that they came in, lie in memory and then on disk, and are found by a number that the
//! coordinator has drawn, which the statement has as a parameter: nothing that runs in the session can look it up.
//!
//! A client's statement can call the functions in a coordinator's session, too, so what it sends is checked as PostgreSQL checks
//! what a client sends.

use crate::error::{Error, Result};
use crate::pg::error::trampoline;
use crate::pg::exec::coordinators_calls::{self, CoordinatorHooks};
use crate::pg::exec::decode::{RowDecoder, RowFormat};
use pgrx::FromDatum;
use pgrx::pg_sys::{self, Datum, errcodes::PgSqlErrorCode as Code};
use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::ptr;

/// Rows under one number.
#[derive(Clone, Copy)]
struct Shipped {
    number: i64,
    /// Nesting level of the subtransaction whose rollback undoes them.
    level: c_int,
    /// A call reads or adds to them: nothing else finds them then, or after an error in it.
    in_use: bool,
    /// Rows with one column, a bytea with the bodies of several DataRow messages, each behind its length.
    chunks: *mut pg_sys::Tuplestorestate,
    rows: u64,
}

thread_local! {
    static SHIPPED: RefCell<Vec<Shipped>> = const { RefCell::new(Vec::new()) };
    /// Whether this backend follows its subtransactions.
    static FOLLOWS: Cell<bool> = const { Cell::new(false) };
}

/// Memory that one number's rows take before they go to disk, in kilobytes.
fn memory() -> c_int {
    // SAFETY: a backend-local variable.
    unsafe { pg_sys::work_mem }
}

unsafe fn argument<T: FromDatum>(call: pg_sys::FunctionCallInfo, index: usize) -> Result<T> {
    // SAFETY: called by functions that are strict and have so many arguments of these types.
    unsafe {
        let argument = (*call).args.as_ptr().add(index);
        T::from_datum((*argument).value, (*argument).isnull).ok_or_else(|| {
            Error::new(Code::ERRCODE_NULL_VALUE_NOT_ALLOWED, "argument must not be NULL")
        })
    }
}

/// Adds rows to those of a number: `(number bigint, rows bytea)`.
///
/// # Safety
/// Called by the function manager for a strict function with these arguments.
pub unsafe fn receive<H: CoordinatorHooks>(call: pg_sys::FunctionCallInfo) -> Datum {
    // SAFETY: by the caller's promise.
    unsafe {
        trampoline(Datum::from(0), || {
            coordinators_calls::admit_own::<H>("receive_rows")?;
            let number: i64 = argument(call, 0)?;
            let bytes: &[u8] = argument(call, 1)?;
            let rows = count(bytes)?;
            let mut shipped = claim(number).unwrap_or_else(|| begin(number));
            in_transaction(|| {
                let value = (*(*call).args.as_ptr().add(1)).value;
                let (mut values, mut nulls) = ([value], [false]);
                let columns = chunk_columns();
                pg_sys::tuplestore_putvalues(
                    shipped.chunks,
                    columns,
                    values.as_mut_ptr(),
                    nulls.as_mut_ptr(),
                );
                pg_sys::FreeTupleDesc(columns);
            });
            shipped.rows += rows;
            release(shipped);
            Ok(Datum::from(0))
        })
    }
}

/// Gives the rows of a number: `(number bigint)`, a set of records with the columns that the query names.
///
/// # Safety
/// Called by the function manager for a strict function with this argument.
pub unsafe fn rows<H: CoordinatorHooks>(call: pg_sys::FunctionCallInfo) -> Datum {
    // SAFETY: by the caller's promise.
    unsafe {
        trampoline(Datum::from(0), || {
            coordinators_calls::admit::<H>("shipped_rows")?;
            let number: i64 = argument(call, 0)?;
            pg_sys::InitMaterializedSRF(call, pg_sys::MAT_SRF_USE_EXPECTED_DESC);
            let info = (*call).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            let Some(shipped) = claim(number) else {
                return Err(Error::new(
                    Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                    "no rows were sent under this number",
                )
                .detail(
                    "Only a statement that a coordinator sends reads rows that it has sent before.",
                ));
            };
            decode(shipped.chunks, (*info).setDesc, (*info).setResult)?;
            release(shipped);
            (*call).isnull = true;
            Ok(Datum::from(0))
        })
    }
}

/// Forgets the rows of a number: `(number bigint)`.
///
/// # Safety
/// Called by the function manager for a strict function with this argument.
pub unsafe fn forget<H: CoordinatorHooks>(call: pg_sys::FunctionCallInfo) -> Datum {
    // SAFETY: by the caller's promise.
    unsafe {
        trampoline(Datum::from(0), || {
            coordinators_calls::admit_own::<H>("forget_rows")?;
            if let Some(shipped) = claim(argument(call, 0)?) {
                drop_all(|other| ptr::eq(other.chunks, shipped.chunks));
            }
            Ok(Datum::from(0))
        })
    }
}

/// The number of rows that are there for a call with a constant: `(internal)`, the planner's request.
///
/// # Safety
/// Called by the planner, as the support function of the one that gives the rows.
pub unsafe fn support(call: pg_sys::FunctionCallInfo) -> Datum {
    // SAFETY: by the caller's promise; the casts follow the tags.
    unsafe {
        trampoline(Datum::from(0), || {
            let request = (*(*call).args.as_ptr()).value.cast_mut_ptr::<pg_sys::Node>();
            if (*request).type_ != pg_sys::NodeTag::T_SupportRequestRows {
                return Ok(Datum::from(0));
            }
            let request = request.cast::<pg_sys::SupportRequestRows>();
            let arguments = (*(*request).node.cast::<pg_sys::FuncExpr>()).args;
            let argument = crate::pg::tree::list::nth::<pg_sys::Node>(arguments, 0);
            let argument = pg_sys::estimate_expression_value((*request).root, argument);
            if (*argument).type_ != pg_sys::NodeTag::T_Const {
                return Ok(Datum::from(0));
            }
            let constant = &*argument.cast::<pg_sys::Const>();
            let number = i64::from_datum(constant.constvalue, constant.constisnull);
            let rows = SHIPPED.with_borrow(|all| {
                all.iter()
                    .find(|shipped| Some(shipped.number) == number && !shipped.in_use)
                    .map(|shipped| shipped.rows)
            });
            Ok(match rows {
                Some(rows) => {
                    (*request).rows = rows.max(1) as f64;
                    Datum::from(request)
                }
                None => Datum::from(0),
            })
        })
    }
}

/// Runs `body` in the memory and with the resources of the transaction, which outlive the statement.
unsafe fn in_transaction<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: both exist within a transaction; after an error the transaction's end sets them again.
    unsafe {
        let (memory, owner) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::CurrentMemoryContext = pg_sys::TopTransactionContext;
        pg_sys::CurrentResourceOwner = pg_sys::TopTransactionResourceOwner;
        let result = body();
        pg_sys::CurrentMemoryContext = memory;
        pg_sys::CurrentResourceOwner = owner;
        result
    }
}

/// Claims the rows of a number for one call.
fn claim(number: i64) -> Option<Shipped> {
    SHIPPED.with_borrow_mut(|all| {
        let found = all.iter_mut().find(|shipped| shipped.number == number && !shipped.in_use)?;
        found.in_use = true;
        Some(*found)
    })
}

/// Lets others find rows that were claimed.
fn release(shipped: Shipped) {
    SHIPPED.with_borrow_mut(|all| {
        all.retain(|other| !ptr::eq(other.chunks, shipped.chunks));
        all.push(Shipped { in_use: false, ..shipped });
    });
}

/// Begins rows under a number, claimed.
unsafe fn begin(number: i64) -> Shipped {
    // SAFETY: within a transaction; the callbacks forget the store before its memory goes, and live as long as the process.
    unsafe {
        if !FOLLOWS.replace(true) {
            pg_sys::RegisterSubXactCallback(Some(subtransaction_event), ptr::null_mut());
        }
        let shipped = in_transaction(|| {
            let chunks = pg_sys::tuplestore_begin_heap(false, false, memory());
            let callback = pg_sys::palloc0(size_of::<pg_sys::MemoryContextCallback>())
                .cast::<pg_sys::MemoryContextCallback>();
            (*callback).func = Some(memory_goes);
            (*callback).arg = chunks.cast();
            pg_sys::MemoryContextRegisterResetCallback(pg_sys::TopTransactionContext, callback);
            let level = pg_sys::GetCurrentTransactionNestLevel();
            Shipped { number, level, in_use: true, chunks, rows: 0 }
        });
        SHIPPED.with_borrow_mut(|all| all.push(shipped));
        shipped
    }
}

/// Drops rows, in use or not.
fn drop_all(which: impl Fn(&Shipped) -> bool) {
    let dropped: Vec<Shipped> =
        SHIPPED.with_borrow_mut(|all| all.extract_if(.., |shipped| which(shipped)).collect());
    for shipped in dropped {
        // SAFETY: within the transaction that the store belongs to, and no call uses it.
        unsafe { in_transaction(|| pg_sys::tuplestore_end(shipped.chunks)) };
    }
}

/// A savepoint that is released leaves its rows to the one around it; one that is rolled back takes them along.
unsafe extern "C-unwind" fn subtransaction_event(
    event: pg_sys::SubXactEvent::Type,
    _sub: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _: *mut c_void,
) {
    // SAFETY: called within a transaction.
    let level = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
    match event {
        pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => SHIPPED.with_borrow_mut(|all| {
            all.iter_mut().for_each(|shipped| shipped.level = shipped.level.min(level - 1));
        }),
        // Calls within the subtransaction have ended, and those around it use what came before.
        pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => {
            drop_all(|shipped| shipped.level >= level);
        }
        _ => {}
    }
}

unsafe extern "C-unwind" fn memory_goes(chunks: *mut c_void) {
    SHIPPED.with_borrow_mut(|all| all.retain(|shipped| !ptr::eq(shipped.chunks, chunks.cast())));
}

unsafe fn chunk_columns() -> pg_sys::TupleDesc {
    // SAFETY: a descriptor with one column, whose name is a C string.
    unsafe {
        let columns = pg_sys::CreateTemplateTupleDesc(1);
        pg_sys::TupleDescInitEntry(columns, 1, c"rows".as_ptr(), pg_sys::BYTEAOID, -1, 0);
        columns
    }
}

/// Puts all rows into `to`, whose rows have these columns.
unsafe fn decode(
    chunks: *mut pg_sys::Tuplestorestate,
    columns: pg_sys::TupleDesc,
    to: *mut pg_sys::Tuplestorestate,
) -> Result<()> {
    // SAFETY: the stores and the descriptor are valid; the decoder lives within this call.
    unsafe {
        let own = chunk_columns();
        let chunk = pg_sys::MakeSingleTupleTableSlot(own, &raw const pg_sys::TTSOpsMinimalTuple);
        let row = pg_sys::MakeSingleTupleTableSlot(columns, &raw const pg_sys::TTSOpsVirtual);
        let memory = pg_sys::AllocSetContextCreateInternal(
            pg_sys::CurrentMemoryContext,
            c"shipped row".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        );
        let mut decoder = RowDecoder::new(columns, RowFormat::Exact)?;
        pg_sys::tuplestore_rescan(chunks);
        while in_transaction(|| pg_sys::tuplestore_gettupleslot(chunks, true, true, chunk)) {
            pg_sys::slot_getsomeattrs_int(chunk, 1);
            let Some(bytes) = <&[u8]>::from_datum(*(*chunk).tts_values, false) else { continue };
            let mut rest = bytes;
            while let Some(body) = next_row(&mut rest)? {
                decoder.check_encoding(body)?;
                decoder.decode(body, row, memory)?;
                pg_sys::tuplestore_puttupleslot(to, row);
                crate::pg::exec::decode::clear(row);
                pg_sys::MemoryContextReset(memory);
            }
        }
        pg_sys::ExecDropSingleTupleTableSlot(chunk);
        pg_sys::ExecDropSingleTupleTableSlot(row);
        pg_sys::MemoryContextDelete(memory);
    }
    Ok(())
}

/// Takes the next row off the bytes of a chunk.
fn next_row<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>> {
    if rest.is_empty() {
        return Ok(None);
    }
    let cut = rest
        .split_first_chunk::<4>()
        .and_then(|(length, bytes)| bytes.split_at_checked(u32::from_be_bytes(*length) as usize));
    let Some((row, behind)) = cut else {
        return Err(Error::new(
            Code::ERRCODE_PROTOCOL_VIOLATION,
            "malformed rows from a coordinator",
        ));
    };
    *rest = behind;
    Ok(Some(row))
}

fn count(bytes: &[u8]) -> Result<u64> {
    let (mut rest, mut rows) = (bytes, 0);
    while next_row(&mut rest)?.is_some() {
        rows += 1;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_apart_by_their_lengths() {
        let bytes = b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01c";
        assert_eq!(count(bytes).unwrap(), 3);
        assert!(count(&bytes[..5]).is_err());
        assert!(count(b"\0\0").is_err());
        assert_eq!(count(b"").unwrap(), 0);
    }
}
