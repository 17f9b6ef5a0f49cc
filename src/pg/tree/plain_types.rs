//! Types whose values mean the same on every server.

use crate::pg::catalog::object::FIRST_USER_OID;
use pgrx::pg_sys::{self, Oid};

/// Whether a type is built in, and its values are not numbers of objects.
pub(in crate::pg::tree) fn is_plain(of_type: Oid) -> bool {
    const NUMBERS: [Oid; 11] = [
        pg_sys::REGCLASSOID,
        pg_sys::REGCOLLATIONOID,
        pg_sys::REGCONFIGOID,
        pg_sys::REGDICTIONARYOID,
        pg_sys::REGNAMESPACEOID,
        pg_sys::REGOPEROID,
        pg_sys::REGOPERATOROID,
        pg_sys::REGPROCOID,
        pg_sys::REGPROCEDUREOID,
        pg_sys::REGROLEOID,
        pg_sys::REGTYPEOID,
    ];
    of_type.to_u32() < FIRST_USER_OID && !NUMBERS.contains(&of_type)
}
