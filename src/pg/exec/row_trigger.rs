//! The event for which a trigger was fired, as plain values.

use crate::pg::session::own_settings::OwnSettings;
use pgrx::pg_sys::{self, Oid};
use std::ffi::CStr;

/// Values are formatted so that every server reads them as the same ones, like in postgres_fdw.
const MODES: [(&CStr, &CStr); 4] = [
    (c"datestyle", c"ISO"),
    (c"intervalstyle", c"postgres"),
    (c"extra_float_digits", c"3"),
    (c"search_path", c"pg_catalog"),
];

/// The columns of a row as text, by column number less one; None for NULL and for dropped columns.
pub type Values = Vec<Option<Vec<u8>>>;

/// An operation on rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Insert,
    Update,
    Delete,
    Truncate,
}

impl Operation {
    /// The operation that changes a row with an old version, a new version, or both.
    pub fn of(has_old: bool, has_new: bool) -> Self {
        match (has_old, has_new) {
            (false, _) => Self::Insert,
            (true, true) => Self::Update,
            (true, false) => Self::Delete,
        }
    }
}

/// The event for which a trigger was fired.
pub enum Fired {
    /// Before a statement.
    Before(Operation),
    /// After a row was changed, with its old and new version.
    Row {
        /// None if the row was inserted.
        old: Option<Values>,
        /// None if the row was deleted.
        new: Option<Values>,
    },
    /// After a statement.
    After(Operation),
    /// After TRUNCATE.
    Truncated,
}

/// The table and the event.
///
/// # Safety
/// The data are those of the current call of a trigger.
pub unsafe fn view(data: *mut pg_sys::TriggerData) -> (Oid, Fired) {
    // SAFETY: by the caller's promise: the server fills these fields for the duration of the call.
    unsafe {
        let data = &*data;
        let event = data.tg_event;
        let relation = (*data.tg_relation).rd_id;
        let operation = event & pg_sys::TRIGGER_EVENT_OPMASK;
        let values = |tuple| values((*data.tg_relation).rd_att, tuple);
        let fired = if event & pg_sys::TRIGGER_EVENT_BEFORE != 0 {
            Fired::Before(of_event(operation))
        } else if operation == pg_sys::TRIGGER_EVENT_TRUNCATE {
            Fired::Truncated
        } else if event & pg_sys::TRIGGER_EVENT_ROW == 0 {
            Fired::After(of_event(operation))
        } else {
            let _modes = OwnSettings::begin(&MODES);
            match operation {
                pg_sys::TRIGGER_EVENT_INSERT => {
                    Fired::Row { old: None, new: Some(values(data.tg_trigtuple)) }
                }
                pg_sys::TRIGGER_EVENT_DELETE => {
                    Fired::Row { old: Some(values(data.tg_trigtuple)), new: None }
                }
                _ => Fired::Row {
                    old: Some(values(data.tg_trigtuple)),
                    new: Some(values(data.tg_newtuple)),
                },
            }
        };
        (relation, fired)
    }
}

fn of_event(operation: u32) -> Operation {
    match operation {
        pg_sys::TRIGGER_EVENT_INSERT => Operation::Insert,
        pg_sys::TRIGGER_EVENT_UPDATE => Operation::Update,
        pg_sys::TRIGGER_EVENT_DELETE => Operation::Delete,
        _ => Operation::Truncate,
    }
}

/// # Safety
/// The tuple is one of this descriptor's.
pub(in crate::pg) unsafe fn values(
    descriptor: pg_sys::TupleDesc,
    tuple: pg_sys::HeapTuple,
) -> Values {
    // SAFETY: by the caller's promise; output functions return palloc'd C strings.
    unsafe {
        let columns = (*descriptor).natts as usize;
        let mut datums = vec![pg_sys::Datum::null(); columns];
        let mut nulls = vec![true; columns];
        pg_sys::heap_deform_tuple(tuple, descriptor, datums.as_mut_ptr(), nulls.as_mut_ptr());
        let mut texts = Values::with_capacity(columns);
        for column in 0..columns {
            let attribute = crate::pg::catalog::types::tuple_attribute(descriptor, column);
            if nulls[column] || (*attribute).attisdropped {
                texts.push(None);
                continue;
            }
            let (mut output, mut varlena) = (pg_sys::InvalidOid, false);
            pg_sys::getTypeOutputInfo((*attribute).atttypid, &mut output, &mut varlena);
            let text = pg_sys::OidOutputFunctionCall(output, datums[column]);
            texts.push(Some(CStr::from_ptr(text).to_bytes().to_vec()));
            pg_sys::pfree(text.cast());
        }
        texts
    }
}
