//! Serializes the parameters of a statement for a node.
//!
//! The client's representation of a parameter is not available after PostgreSQL has bound it, so it is generated again:
//! in binary format for types with the same binary form on every server, as text (with the settings that both sides
//! share) for the rest.

use crate::error::{Error, Result};
use crate::pg::catalog::object::FIRST_USER_OID;
use pgrx::pg_sys::{self, Oid, errcodes::PgSqlErrorCode as Code};
use std::ffi::CStr;
use std::ops::Range;

/// The name of a cursor that a parameter of type refcursor is, as WHERE CURRENT OF finds it.
///
/// Errors: 42704 if it is null, 42804 if it is of another type.
///
/// # Safety
/// `list` is null or the executor's.
pub(in crate::pg) unsafe fn cursor_name(list: pg_sys::ParamListInfo, id: i32) -> Result<String> {
    let none =
        || Error::new(Code::ERRCODE_UNDEFINED_OBJECT, format!("no value found for parameter {id}"));
    // SAFETY: by the caller's promise; a value of type refcursor is a text.
    unsafe {
        if list.is_null() || !(1..=(*list).numParams).contains(&id) {
            return Err(none());
        }
        let mut workspace = pg_sys::ParamExternData::default();
        let param = match (*list).paramFetch {
            Some(fetch) => *fetch(list, id, false, &mut workspace),
            None => *(*list).params.as_ptr().add(id as usize - 1),
        };
        if param.isnull || param.ptype == Oid::INVALID {
            return Err(none());
        }
        if param.ptype != pg_sys::REFCURSOROID {
            return Err(Error::new(
                Code::ERRCODE_DATATYPE_MISMATCH,
                format!("type of parameter {id} does not match that when preparing the plan"),
            ));
        }
        let name = pg_sys::text_to_cstring(param.value.cast_mut_ptr());
        Ok(CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

/// Parameters in the order of their numbers.
#[derive(Debug, Default)]
pub struct Params {
    types: Vec<u32>,
    /// Index and type of parameters of user-defined types.
    user_types: Vec<(usize, Oid)>,
    values: Vec<(bool, Option<Range<usize>>)>,
    bytes: Vec<u8>,
}

impl Params {
    /// Type OIDs, 0 to let the node infer them.
    pub fn types(&self) -> &[u32] {
        &self.types
    }

    /// Whether there are parameters of types that differ between servers.
    pub fn has_user_types(&self) -> bool {
        !self.user_types.is_empty()
    }

    /// Index and local type of the parameters of types that differ between servers.
    pub fn user_types(&self) -> Vec<(usize, Oid)> {
        self.user_types.clone()
    }

    /// Whether the value of a parameter is NULL.
    pub fn is_null(&self, index: usize) -> bool {
        self.values.get(index).is_none_or(|(_, value)| value.is_none())
    }

    /// Sets the type OID to be sent for a parameter.
    pub fn set_type(&mut self, index: usize, oid: u32) {
        if let Some(of_type) = self.types.get_mut(index) {
            *of_type = oid;
        }
    }

    /// Makes NULL of each parameter of such a type, for a statement that refers to none of them.
    pub fn drop_user_types(&mut self) {
        for (index, _) in self.user_types.drain(..) {
            self.types[index] = pg_sys::TEXTOID.to_u32();
            self.values[index] = (false, None);
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// Each value: whether it is in binary format, and its bytes; `None` for NULL.
    pub fn values(&self) -> impl Iterator<Item = (bool, Option<&[u8]>)> {
        self.values.iter().map(|(binary, range)| (*binary, range.clone().map(|r| &self.bytes[r])))
    }

    /// Adds a bigint with this number (from 1, ascending); skipped numbers become NULL.
    pub fn put_number(&mut self, id: usize, number: i64) {
        // SAFETY: a value of its type, passed by value.
        unsafe { self.put(id, pg_sys::INT8OID, Some(pg_sys::Datum::from(number))) }
    }

    /// # Safety
    /// `list` is null or a valid parameter list.
    pub(in crate::pg) unsafe fn collect(list: pg_sys::ParamListInfo, count: i32) -> Self {
        let mut params = Self::default();
        if list.is_null() {
            return params;
        }
        // SAFETY: by the caller's promise; ids run from 1 to numParams.
        unsafe {
            for id in 1..=count.min((*list).numParams) {
                let mut workspace = pg_sys::ParamExternData::default();
                let param = match (*list).paramFetch {
                    Some(fetch) => fetch(list, id, false, &mut workspace),
                    None => (*list).params.as_mut_ptr().add(id as usize - 1),
                };
                params.add(&*param);
            }
        }
        params
    }

    /// Adds the parameter with this number (from 1, ascending); skipped numbers become NULL.
    ///
    /// # Safety
    /// The value is one of the type.
    pub(in crate::pg) unsafe fn put(
        &mut self,
        id: usize,
        of_type: Oid,
        value: Option<pg_sys::Datum>,
    ) {
        while self.types.len() + 1 < id {
            self.add(&pg_sys::ParamExternData::default());
        }
        self.add(&pg_sys::ParamExternData {
            value: value.unwrap_or(pg_sys::Datum::null()),
            isnull: value.is_none(),
            ptype: of_type,
            ..Default::default()
        });
    }

    fn add(&mut self, param: &pg_sys::ParamExternData) {
        let type_oid = param.ptype.to_u32();
        if type_oid >= FIRST_USER_OID {
            self.user_types.push((self.types.len(), param.ptype));
        }
        if type_oid == 0 || param.isnull {
            self.types.push(known_type(type_oid));
            self.values.push((false, None));
            return;
        }
        let start = self.bytes.len();
        let binary = self.add_value(param.ptype, param.value);
        self.types.push(known_type(type_oid));
        self.values.push((binary, Some(start..self.bytes.len())));
    }

    /// Appends the value; returns whether it is in binary format.
    fn add_value(&mut self, of_type: Oid, value: pg_sys::Datum) -> bool {
        match of_type {
            pg_sys::INT4OID => self.bytes.extend((value.value() as i32).to_be_bytes()),
            pg_sys::INT8OID => self.bytes.extend((value.value() as i64).to_be_bytes()),
            pg_sys::INT2OID => self.bytes.extend((value.value() as i16).to_be_bytes()),
            pg_sys::BOOLOID => self.bytes.push(u8::from(value.value() as u8 != 0)),
            _ if has_portable_binary(of_type) => self.add_sent(of_type, value),
            _ => {
                self.add_text(of_type, value);
                return false;
            }
        }
        true
    }

    fn add_sent(&mut self, of_type: Oid, value: pg_sys::Datum) {
        // SAFETY: `value` is of this type; the result is a palloc'd, untoasted bytea.
        unsafe {
            let (mut function, mut varlena) = (Oid::INVALID, false);
            pg_sys::getTypeBinaryOutputInfo(of_type, &mut function, &mut varlena);
            let sent = pg_sys::OidSendFunctionCall(function, value);
            self.bytes.extend_from_slice(pgrx::varlena_to_byte_slice(sent.cast()));
            pg_sys::pfree(sent.cast());
        }
    }

    fn add_text(&mut self, of_type: Oid, value: pg_sys::Datum) {
        // SAFETY: `value` is of this type; the result is a palloc'd C string.
        unsafe {
            let (mut function, mut varlena) = (Oid::INVALID, false);
            pg_sys::getTypeOutputInfo(of_type, &mut function, &mut varlena);
            let text = pg_sys::OidOutputFunctionCall(function, value);
            self.bytes.extend_from_slice(std::ffi::CStr::from_ptr(text).to_bytes());
            pg_sys::pfree(text.cast());
        }
    }
}

/// The type OID to be sent. User-defined types have other OIDs on a node; a parameter that the text does not use
/// (procedural languages leave gaps) needs some type, because the node could not infer one.
fn known_type(type_oid: u32) -> u32 {
    match type_oid {
        0 => pg_sys::TEXTOID.to_u32(),
        unknown if unknown == pg_sys::UNKNOWNOID.to_u32() => 0,
        user if user >= FIRST_USER_OID => 0,
        known => known,
    }
}

/// Types whose binary form contains no OIDs and does not depend on settings of either server.
fn has_portable_binary(of_type: Oid) -> bool {
    matches!(
        of_type,
        pg_sys::FLOAT4OID
            | pg_sys::FLOAT8OID
            | pg_sys::NUMERICOID
            | pg_sys::BYTEAOID
            | pg_sys::UUIDOID
            | pg_sys::DATEOID
            | pg_sys::TIMEOID
            | pg_sys::TIMETZOID
            | pg_sys::TIMESTAMPOID
            | pg_sys::TIMESTAMPTZOID
            | pg_sys::INTERVALOID
            | pg_sys::INT4ARRAYOID
            | pg_sys::INT8ARRAYOID
            | pg_sys::FLOAT8ARRAYOID
    )
}

/// Whether the binary form of this type contains OIDs that differ on another server: arrays and composites contain the
/// types of their parts, and object names are OIDs.
pub(in crate::pg) fn binary_holds_oids(of_type: Oid) -> bool {
    // SAFETY: syscache lookups, which return an invalid OID if there is no entry.
    unsafe {
        let base = pg_sys::getBaseType(of_type);
        let is_named_part = |part: Oid| part.to_u32() >= FIRST_USER_OID || binary_holds_oids(part);
        let element = pg_sys::get_element_type(base);
        if element != Oid::INVALID {
            return is_named_part(element);
        }
        match pg_sys::get_typtype(base) as u8 {
            pg_sys::TYPTYPE_RANGE => binary_holds_oids(pg_sys::get_range_subtype(base)),
            pg_sys::TYPTYPE_MULTIRANGE => binary_holds_oids(pg_sys::get_multirange_range(base)),
            pg_sys::TYPTYPE_COMPOSITE => {
                let relation = pg_sys::get_typ_typrelid(base);
                (1..=pg_sys::AttrNumber::MAX)
                    .take_while(|&n| !pg_sys::get_attname(relation, n, true).is_null())
                    .map(|n| pg_sys::get_atttype(relation, n))
                    .any(|of_column| of_column != Oid::INVALID && is_named_part(of_column))
            }
            _ => {
                base.to_u32() < FIRST_USER_OID && base != pg_sys::OIDOID && {
                    !same_binary_everywhere(base)
                }
            }
        }
    }
}

/// Whether values of this type have the same binary form on every server (user-defined types and records may contain
/// OIDs).
pub(in crate::pg) fn same_binary_everywhere(of_type: Oid) -> bool {
    // SAFETY: a syscache lookup; an invalid OID if the type is not an array.
    let element = unsafe { pg_sys::get_element_type(of_type) };
    let base = if element == Oid::INVALID { of_type } else { element };
    base.to_u32() < FIRST_USER_OID
        && !matches!(
            base,
            pg_sys::RECORDOID
                | pg_sys::OIDOID
                | pg_sys::REGCLASSOID
                | pg_sys::REGTYPEOID
                | pg_sys::REGPROCOID
                | pg_sys::REGPROCEDUREOID
                | pg_sys::REGOPEROID
                | pg_sys::REGOPERATOROID
                | pg_sys::REGNAMESPACEOID
                | pg_sys::REGROLEOID
                | pg_sys::REGCONFIGOID
                | pg_sys::REGDICTIONARYOID
                | pg_sys::REGCOLLATIONOID
        )
}
