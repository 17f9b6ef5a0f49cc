//! Whether text says exactly what a value is: of dates, times and floating-point numbers, it depends on settings.

use crate::error::{Error, Result};
use crate::pg::catalog::types;
use pgrx::pg_sys::{self, Oid, errcodes::PgSqlErrorCode as Code};

/// Digits at which a floating-point number is written so that it can be read again.
const EXACT: i32 = 1;

/// Checks that values of a type can travel as text between this server and a node, whose session has the same settings.
///
/// Errors: 0A000 if their text might be read as other values.
pub(in crate::pg) fn check(of_type: Oid) -> Result<()> {
    // SAFETY: variables of this backend.
    let (style, digits) = unsafe { (pg_sys::DateStyle as u32, pg_sys::extra_float_digits) };
    // Other styles write time zones as abbreviations, which have several meanings.
    let in_iso = style == pg_sys::USE_ISO_DATES || style == pg_sys::USE_XSD_DATES;
    let setting = if !in_iso && contains(of_type, &WITH_ZONES) {
        "SET datestyle = ISO"
    } else if digits < EXACT && contains(of_type, &WITH_FRACTIONS) {
        "SET extra_float_digits = 1"
    } else {
        return Ok(());
    };
    let name = types::qualified_name(of_type);
    let message = format!("cannot exchange values of type {name} with a node with these settings");
    Err(Error::new(Code::ERRCODE_FEATURE_NOT_SUPPORTED, message)
        .detail("Their text would not say exactly what they are.")
        .hint(format!("Run {setting}, or select the parts of the values instead.")))
}

const WITH_ZONES: [Oid; 1] = [pg_sys::TIMESTAMPTZOID];

const WITH_FRACTIONS: [Oid; 9] = [
    pg_sys::FLOAT4OID,
    pg_sys::FLOAT8OID,
    pg_sys::POINTOID,
    pg_sys::LSEGOID,
    pg_sys::PATHOID,
    pg_sys::BOXOID,
    pg_sys::POLYGONOID,
    pg_sys::LINEOID,
    pg_sys::CIRCLEOID,
];

fn contains(of_type: Oid, searched: &[Oid]) -> bool {
    searched.contains(&of_type) || types::parts_of(of_type).any(|part| contains(part, searched))
}
