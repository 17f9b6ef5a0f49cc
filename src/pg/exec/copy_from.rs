//! Feeds rows to PostgreSQL's own COPY … FROM, like the initial copy of logical replication.
//!
//! No triggers fire and foreign keys are not checked (both are the source's responsibility), and neither privileges nor
//! row-level security apply; constraints are checked. Functions called by expressions of the table (checks, generated
//! columns) run as its owner.

use crate::error::{Error, Result};
use crate::pg::catalog::privileges;
use crate::pg::error::trampoline;
use crate::pg::exec::bulk_insert;
use crate::pg::session::own_settings::OwnSettings;
use pgrx::pg_sys::{self, Oid, errcodes::PgSqlErrorCode as Code};
use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::ptr;

/// Format of the rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// COPY's binary format.
    Binary,
    /// COPY's text format, in UTF-8.
    Text,
}

impl Format {
    /// Its name in COPY's FORMAT option.
    pub fn name(self) -> &'static str {
        match self {
            Format::Binary => "binary",
            Format::Text => "text",
        }
    }
}

/// A source of data.
pub trait Source {
    /// Fills the buffer with at least this many bytes, or fewer only at the end of the data; returns their number.
    fn read(&mut self, buffer: &mut [u8], least: usize) -> Result<usize>;
}

thread_local! {
    static SOURCE: Cell<Option<*mut dyn Source>> = const { Cell::new(None) };
}

/// Copies rows into the columns of a table (all but generated ones, if none are named); returns their number. If
/// `frozen` rows are allowed and possible, constraints are not checked: see [`bulk_insert`]. Raises PostgreSQL's errors
/// and those of the source.
pub fn copy_from(
    table: Oid,
    columns: &[String],
    format: Format,
    frozen: bool,
    source: &mut dyn Source,
) -> Result<u64> {
    // SAFETY: the pointer is taken back before `source` ends, also by an error that unwinds; until then nobody else
    // uses `source`.
    let lasting = unsafe { std::mem::transmute::<&mut dyn Source, *mut dyn Source>(source) };
    let _reading = Reading(SOURCE.replace(Some(lasting)));
    let owner = privileges::owner_of_relation(table)?;
    let _settings = OwnSettings::begin(&PINNED); // texts mean the same as where they were written
    let lock = pg_sys::RowExclusiveLock as c_int;
    // SAFETY: the relation is open, with its lock held to the end of the transaction, as long as it is used. All
    // that is allocated lives in the statement's memory. An error releases it with the transaction.
    unsafe {
        let relation = pg_sys::table_open(table, lock);
        let _owner = Owner::become_owner(owner);
        let triggers = NoTriggers::of(relation);
        let pstate = pg_sys::make_parsestate(ptr::null_mut());
        pg_sys::addRangeTableEntryForRelation(
            pstate,
            relation,
            lock,
            ptr::null_mut(),
            false,
            false,
        );
        let mut names: *mut pg_sys::List = ptr::null_mut();
        for column in columns {
            names = pg_sys::lappend(names, string(column));
        }
        let mut options: *mut pg_sys::List = ptr::null_mut();
        for (name, value) in [(c"format", format.name()), (c"encoding", "UTF8")] {
            let name = pg_sys::pstrdup(name.as_ptr());
            options = pg_sys::lappend(
                options,
                pg_sys::makeDefElem(name, string(value).cast(), -1).cast(),
            );
        }
        let copy = pg_sys::BeginCopyFrom(
            pstate,
            relation,
            ptr::null_mut(),
            ptr::null(),
            false,
            Some(read),
            names,
            options,
        );
        let rows = match frozen && bulk_insert::is_possible(relation, columns.len()) {
            true => bulk_insert::frozen(relation, copy),
            false => pg_sys::CopyFrom(copy),
        };
        pg_sys::EndCopyFrom(copy);
        pg_sys::free_parsestate(pstate);
        drop(triggers);
        pg_sys::table_close(relation, pg_sys::NoLock as c_int);
        Ok(rows)
    }
}

/// A String node.
fn string(text: &str) -> *mut c_void {
    // SAFETY: the text is a palloc'd copy that the node keeps.
    unsafe { pg_sys::makeString(crate::pg::tree::parse_nodes::palloc_text(text)).cast() }
}

/// COPY's data source callback, used like in the initial copy of a subscription.
unsafe extern "C-unwind" fn read(buffer: *mut c_void, least: c_int, most: c_int) -> c_int {
    // SAFETY: COPY returns a buffer of `most` bytes; the source is set as long as COPY runs; this frame owns nothing.
    unsafe {
        trampoline(0, || {
            let Some(source) = SOURCE.get() else {
                return Err(Error::new(Code::ERRCODE_INTERNAL_ERROR, "COPY reads from nothing"));
            };
            let most = usize::try_from(most).unwrap_or(0);
            let buffer = std::slice::from_raw_parts_mut(buffer.cast::<u8>(), most);
            let got = (*source).read(buffer, usize::try_from(least).unwrap_or(0))?;
            Ok(c_int::try_from(got).unwrap_or(0))
        })
    }
}

/// Restores the previous source.
struct Reading(Option<*mut dyn Source>);

impl Drop for Reading {
    fn drop(&mut self) {
        SOURCE.set(self.0);
    }
}

/// The settings on which the text format of values depends, as set on both ends. Binary strings are in the client's
/// encoding.
pub const PINNED: [(&CStr, &CStr); 7] = [
    (c"client_encoding", c"UTF8"),
    (c"datestyle", c"ISO, YMD"),
    (c"intervalstyle", c"postgres"),
    (c"extra_float_digits", c"3"),
    (c"bytea_output", c"hex"),
    (c"timezone", c"UTC"),
    (c"lc_monetary", c"C"),
];

/// Until it is dropped, code runs as a table's owner, who cannot use it to gain privileges.
struct Owner {
    role: Oid,
    context: c_int,
}

impl Owner {
    fn become_owner(owner: Oid) -> Self {
        let (mut role, mut context) = (Oid::INVALID, 0);
        // SAFETY: the calls change backend-local variables.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut role, &mut context);
            let restricted = context | pg_sys::SECURITY_RESTRICTED_OPERATION as c_int;
            pg_sys::SetUserIdAndSecContext(owner, restricted);
        }
        Self { role, context }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // SAFETY: restores what `become_owner` saved.
        unsafe { pg_sys::SetUserIdAndSecContext(self.role, self.context) }
    }
}

/// Until it is dropped, this backend sees an open relation without triggers, except for those that check deferrable
/// unique constraints. (ENABLE ALWAYS triggers would fire even under session_replication_role = replica.)
struct NoTriggers {
    relation: pg_sys::Relation,
    own: *mut pg_sys::TriggerDesc,
    shown: *mut pg_sys::TriggerDesc,
}

impl NoTriggers {
    /// # Safety
    /// The relation stays open as long as this lives.
    unsafe fn of(relation: pg_sys::Relation) -> Self {
        // SAFETY: by the caller's promise; what is shown is a valid description, or none.
        unsafe {
            let own = (*relation).trigdesc;
            let shown = unique_checks(own);
            (*relation).trigdesc = shown;
            Self { relation, own, shown }
        }
    }
}

impl Drop for NoTriggers {
    fn drop(&mut self) {
        // SAFETY: the relation is still open here, by the promise of `of`, or waits for the end of the failed
        // transaction, which closes it. If the relcache entry was rebuilt in the meantime, the description shown has
        // been freed, and the entry has a new one.
        unsafe {
            if (*self.relation).trigdesc == self.shown {
                (*self.relation).trigdesc = self.own;
            } else {
                pg_sys::FreeTriggerDesc(self.own);
            }
        }
    }
}

/// The triggers that check deferrable unique and exclusion constraints; null if there are none.
///
/// # Safety
/// `all` is null or a valid description.
unsafe fn unique_checks(all: *mut pg_sys::TriggerDesc) -> *mut pg_sys::TriggerDesc {
    // SAFETY: the copy is ours to change; its array has as many members as it says.
    unsafe {
        let copy = pg_sys::CopyTriggerDesc(all);
        if copy.is_null() {
            return copy;
        }
        let count = usize::try_from((*copy).numtriggers).unwrap_or(0);
        let mut kept = 0;
        for at in 0..count {
            let trigger = (*copy).triggers.add(at);
            if (*trigger).tgfoid == Oid::from(pg_sys::F_UNIQUE_KEY_RECHECK) {
                ptr::copy(trigger, (*copy).triggers.add(kept), 1);
                kept += 1;
            }
        }
        if kept == 0 {
            return ptr::null_mut();
        }
        let triggers = (*copy).triggers;
        *copy = pg_sys::TriggerDesc {
            triggers,
            numtriggers: c_int::try_from(kept).unwrap_or(0),
            trig_insert_after_row: true,
            ..pg_sys::TriggerDesc::default()
        };
        copy
    }
}
