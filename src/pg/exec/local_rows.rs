//! Runs a statement here, within another one that is under way, and gives its rows as a node sends them. One that only reads has
//! the snapshot of the other.

use crate::error::{Error, Result};
use crate::pg::catalog::types::{self, tuple_attribute};
use crate::pg::exec::custom_scan::{self, Attempt, ClientRows, Scan, ScanContext};
use crate::pg::exec::decode::is_read_in_binary;
use crate::pg::exec::exact_text;
use crate::pg::exec::remote_plan::LocalStatementView;
use crate::pg::exec::replan;
use pgrx::pg_sys::{self, Datum, Oid, errcodes::PgSqlErrorCode as Code};
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_int};
use std::ptr;

/// Rows fetched at a time.
const BATCH: std::ffi::c_long = 1000;

/// Writes values as a node sends them.
struct Column {
    function: pg_sys::FmgrInfo,
    binary: bool,
}

/// Whether what is written of a type is its binary form, also as COPY takes it.
pub fn is_sent_in_binary(of_type: Oid) -> bool {
    let is_text = matches!(
        of_type,
        pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID | pg_sys::JSONOID
    );
    types::is_built_in(of_type) && (is_text || is_read_in_binary(of_type))
}

impl ScanContext {
    /// Runs a query here, with the first parameters of the statement; `on_row` gets the body of a DataRow message for each row,
    /// as [`crate::pg::exec::shipped_rows`] takes them. `S` is what runs statements on nodes.
    pub fn local_rows<S: Scan>(
        &self,
        source: LocalStatementView<'_>,
        params: i32,
        on_row: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        // SAFETY: the executor's parameter list is valid (or null) during execution, which has a snapshot.
        unsafe { each::<S>(source, (*self.estate()).es_param_list_info, params, on_row) }
    }
}

/// Runs `source` with the first `count` parameters of `params`; `on_row` gets the body of one DataRow message for each row, with
/// every value in the form that [`RowFormat::Exact`](crate::pg::exec::decode::RowFormat) means.
///
/// # Safety
/// `params` is null or a valid parameter list; a snapshot is active.
unsafe fn each<S: Scan>(
    source: LocalStatementView<'_>,
    params: pg_sys::ParamListInfo,
    count: c_int,
    on_row: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let types = source.types();
    let mut columns: Option<Vec<Column>> = None;
    let mut body = Vec::new();
    // SAFETY: by the caller's promise; the row and its descriptor are valid during the call.
    unsafe {
        with_portal(source, params, count, &mut |portal| {
            if pass_on::<S>(portal, &types, on_row)? == Attempt::Done(()) {
                return Ok(());
            }
            fetch_all(portal, &mut |row, descriptor| {
                let columns = match &mut columns {
                    Some(columns) => columns,
                    None => {
                        check_types(descriptor, types.iter().copied())?;
                        columns.insert(output_of(descriptor)?)
                    }
                };
                write_row(row, descriptor, columns, &mut body);
                on_row(&body)
            })
        })
    }
}

/// As [`each`], but `on_row` gets the row itself, with its descriptor.
///
/// # Safety
/// As for [`each`].
pub(in crate::pg) unsafe fn each_tuple(
    source: LocalStatementView<'_>,
    params: pg_sys::ParamListInfo,
    count: c_int,
    on_row: &mut dyn FnMut(pg_sys::HeapTuple, pg_sys::TupleDesc) -> Result<()>,
) -> Result<()> {
    // SAFETY: by the caller's promise.
    unsafe { with_portal(source, params, count, &mut |portal| fetch_all(portal, on_row)) }
}

/// # Safety
/// As for [`each`].
unsafe fn with_portal(
    source: LocalStatementView<'_>,
    params: pg_sys::ParamListInfo,
    count: c_int,
    read: &mut dyn FnMut(pg_sys::Portal) -> Result<()>,
) -> Result<()> {
    let text = CString::new(source.sql)
        .map_err(|_| Error::new(Code::ERRCODE_SYNTAX_ERROR, "the statement contains a NUL byte"))?;
    // SAFETY: SPI is connected and finished here; the portal is closed before; an error that is raised ends both.
    unsafe {
        pg_sys::SPI_connect();
        let options = pg_sys::SPIParseOpenOptions {
            params: replan::copied(params, count),
            cursorOptions: pg_sys::CURSOR_OPT_NO_SCROLL as c_int,
            read_only: !source.writes,
        };
        let portal = pg_sys::SPI_cursor_parse_open(ptr::null(), text.as_ptr(), &options);
        let done = read(portal);
        pg_sys::SPI_cursor_close(portal);
        pg_sys::SPI_finish();
        done
    }
}

/// Gives the rows of a query that one node runs as it sends them. Replan if it is another query.
unsafe fn pass_on<S: Scan>(
    portal: pg_sys::Portal,
    types: &[Oid],
    on_row: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Attempt<()>> {
    // SAFETY: the portal is open, and runs one SELECT, whose executor is ready.
    unsafe {
        let query = (*portal).queryDesc;
        if query.is_null() || !custom_scan::is_fresh::<S>((*query).planstate) {
            return Ok(Attempt::Replan);
        }
        check_types((*query).tupDesc, types.iter().copied())?;
        let columns = output_of((*query).tupDesc)?;
        let formats = columns.iter().map(|column| i16::from(column.binary)).collect();
        let on_row = RefCell::new(on_row);
        let send = |row: &[u8]| (on_row.borrow_mut())(row);
        let to = ClientRows { begin: &|| {}, formats, records: Vec::new(), send: &send };
        let before = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = (*(*query).estate).es_query_cxt;
        let done = custom_scan::run_to_client::<S>((*query).planstate, &to);
        pg_sys::CurrentMemoryContext = before;
        Ok(match done? {
            Attempt::Done(_) => Attempt::Done(()),
            Attempt::Replan => Attempt::Replan,
        })
    }
}

/// Whether rows have the types that were planned with; a deparsed text could mean something else.
///
/// Errors: XX000 if not.
///
/// # Safety
/// `columns` is valid.
pub(super) unsafe fn check_types(
    columns: pg_sys::TupleDesc,
    wanted: impl ExactSizeIterator<Item = Oid>,
) -> Result<()> {
    // SAFETY: by the caller's promise.
    let same = unsafe {
        (*columns).natts as usize == wanted.len()
            && wanted
                .enumerate()
                .all(|(i, of_type)| (*tuple_attribute(columns, i)).atttypid == of_type)
    };
    if same {
        return Ok(());
    }
    Err(Error::new(
        Code::ERRCODE_INTERNAL_ERROR,
        "the deparsed text of a part of the statement has other columns than the part",
    ))
}

unsafe fn fetch_all(
    portal: pg_sys::Portal,
    on_row: &mut dyn FnMut(pg_sys::HeapTuple, pg_sys::TupleDesc) -> Result<()>,
) -> Result<()> {
    // SAFETY: the portal is open; a table of rows is valid until it is freed.
    unsafe {
        loop {
            pg_sys::SPI_cursor_fetch(portal, true, BATCH);
            let (table, rows) = (pg_sys::SPI_tuptable, pg_sys::SPI_processed);
            if rows == 0 {
                pg_sys::SPI_freetuptable(table);
                return Ok(());
            }
            for i in 0..rows as usize {
                on_row(*(*table).vals.add(i), (*table).tupdesc)?;
            }
            pg_sys::SPI_freetuptable(table);
        }
    }
}

/// Errors: 0A000 for a column whose text would not be exact.
unsafe fn output_of(descriptor: pg_sys::TupleDesc) -> Result<Vec<Column>> {
    // SAFETY: a valid descriptor.
    unsafe {
        (0..(*descriptor).natts as usize)
            .map(|i| {
                let of_type = (*tuple_attribute(descriptor, i)).atttypid;
                let binary = is_read_in_binary(of_type);
                if !binary {
                    exact_text::check(of_type)?;
                }
                let (mut function, mut varlena) = (Oid::INVALID, false);
                if binary {
                    pg_sys::getTypeBinaryOutputInfo(of_type, &mut function, &mut varlena);
                } else {
                    pg_sys::getTypeOutputInfo(of_type, &mut function, &mut varlena);
                }
                let mut found = pg_sys::FmgrInfo::default();
                pg_sys::fmgr_info(function, &mut found);
                Ok(Column { function: found, binary })
            })
            .collect()
    }
}

/// Writes the body of a DataRow message.
unsafe fn write_row(
    row: pg_sys::HeapTuple,
    descriptor: pg_sys::TupleDesc,
    columns: &mut [Column],
    body: &mut Vec<u8>,
) {
    body.clear();
    body.extend((columns.len() as i16).to_be_bytes());
    // SAFETY: the row has these columns; what output functions give is palloc'd, in the memory of the SPI procedure.
    unsafe {
        for (i, column) in columns.iter_mut().enumerate() {
            let mut is_null = false;
            let value: Datum = pg_sys::SPI_getbinval(row, descriptor, i as c_int + 1, &mut is_null);
            if is_null {
                body.extend((-1i32).to_be_bytes());
                continue;
            }
            if column.binary {
                let sent = pg_sys::SendFunctionCall(&mut column.function, value);
                let bytes = pgrx::varlena_to_byte_slice(sent.cast());
                body.extend((bytes.len() as i32).to_be_bytes());
                body.extend_from_slice(bytes);
                pg_sys::pfree(sent.cast());
            } else {
                let text = pg_sys::OutputFunctionCall(&mut column.function, value);
                let bytes = CStr::from_ptr(text).to_bytes();
                body.extend((bytes.len() as i32).to_be_bytes());
                body.extend_from_slice(bytes);
                pg_sys::pfree(text.cast());
            }
        }
    }
}
