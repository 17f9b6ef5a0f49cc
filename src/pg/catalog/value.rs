//! PostgreSQL types as Rust types: reading and writing column values.

use pgrx::{FromDatum, IntoDatum, pg_sys};
use std::ffi::CStr;

/// A Rust type that a column's values are read as.
///
/// # Safety
/// `read` reads values of the PostgreSQL type `TYPE`.
pub unsafe trait Value: Sized {
    /// OID of the PostgreSQL type.
    const TYPE: u32;
    /// Its SQL name.
    const TYPE_NAME: &'static str;
    /// Reads a value; `None` if it is NULL and the Rust type does not represent NULL.
    ///
    /// # Safety
    /// Without `null`, the datum is a valid value of the type.
    unsafe fn read(datum: pg_sys::Datum, null: bool) -> Option<Self>;
}

/// A type of index keys.
///
/// # Safety
/// The function `EQUALS` compares two values of the PostgreSQL type, and [`Self::datum`] returns one that remains valid.
pub unsafe trait KeyValue: Value {
    /// OID of the function of the type's `=` operator.
    const EQUALS: u32;
    /// The value; data that it refers to is allocated in the current memory context.
    fn datum(self) -> pg_sys::Datum;
}

/// A type of values in new rows.
///
/// # Safety
/// [`Self::datum`] returns a value of the PostgreSQL type.
pub unsafe trait Writable: Value {
    /// The value; data that it refers to is allocated in the current memory context.
    fn datum(self) -> pg_sys::Datum;
}

/// A value of type `name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(pub String);

/// A value of type `regclass`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegClass(pub pg_sys::Oid);

/// A value of type `timestamptz`: microseconds since the year 2000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The current time.
    pub fn now() -> Self {
        // SAFETY: reads the clock.
        Self(unsafe { pg_sys::GetCurrentTimestamp() })
    }

    /// Seconds since 1970.
    pub fn unix(self) -> f64 {
        /// Seconds from 1970 to 2000, the epoch of PostgreSQL's timestamps.
        const EPOCH: f64 = 946_684_800.0;
        self.0 as f64 / 1e6 + EPOCH
    }
}

macro_rules! read_by_pgrx {
    ($($type:ty = $oid:expr, $name:literal;)+) => {$(
        // SAFETY: pgrx reads this Rust type from that PostgreSQL type.
        unsafe impl Value for $type {
            const TYPE: u32 = $oid.to_u32();
            const TYPE_NAME: &'static str = $name;
            unsafe fn read(datum: pg_sys::Datum, null: bool) -> Option<Self> {
                // SAFETY: by the caller's promise.
                unsafe { <$type>::from_datum(datum, null) }
            }
        }
    )+};
}

read_by_pgrx! {
    bool = pg_sys::BOOLOID, "boolean";
    i32 = pg_sys::INT4OID, "integer";
    i64 = pg_sys::INT8OID, "bigint";
    f64 = pg_sys::FLOAT8OID, "double precision";
    pg_sys::Oid = pg_sys::OIDOID, "oid";
    String = pg_sys::TEXTOID, "text";
    Vec<i32> = pg_sys::INT4ARRAYOID, "integer[]";
    Vec<String> = pg_sys::TEXTARRAYOID, "text[]";
}

// SAFETY: the value is a NameData, which is NUL-terminated.
unsafe impl Value for Name {
    const TYPE: u32 = pg_sys::NAMEOID.to_u32();
    const TYPE_NAME: &'static str = "name";
    unsafe fn read(datum: pg_sys::Datum, null: bool) -> Option<Self> {
        if null {
            return None;
        }
        // SAFETY: by the caller's promise.
        let name =
            unsafe { CStr::from_ptr((*datum.cast_mut_ptr::<pg_sys::NameData>()).data.as_ptr()) };
        Some(Self(name.to_string_lossy().into_owned()))
    }
}

// SAFETY: the value of a regclass is an OID.
unsafe impl Value for RegClass {
    const TYPE: u32 = pg_sys::REGCLASSOID.to_u32();
    const TYPE_NAME: &'static str = "regclass";
    unsafe fn read(datum: pg_sys::Datum, null: bool) -> Option<Self> {
        // SAFETY: by the caller's promise.
        unsafe { pg_sys::Oid::from_datum(datum, null) }.map(Self)
    }
}

// SAFETY: the value of a timestamptz is an int8.
unsafe impl Value for Timestamp {
    const TYPE: u32 = pg_sys::TIMESTAMPTZOID.to_u32();
    const TYPE_NAME: &'static str = "timestamp with time zone";
    unsafe fn read(datum: pg_sys::Datum, null: bool) -> Option<Self> {
        // SAFETY: by the caller's promise.
        unsafe { i64::from_datum(datum, null) }.map(Self)
    }
}

// SAFETY: reads what `V` reads.
unsafe impl<V: Value> Value for Option<V> {
    const TYPE: u32 = V::TYPE;
    const TYPE_NAME: &'static str = V::TYPE_NAME;
    unsafe fn read(datum: pg_sys::Datum, null: bool) -> Option<Self> {
        if null {
            return Some(None);
        }
        // SAFETY: by the caller's promise.
        unsafe { V::read(datum, false) }.map(Some)
    }
}

// SAFETY: nameeq compares at most 64 bytes, up to NUL; the text is in the current memory context.
unsafe impl KeyValue for Name {
    const EQUALS: u32 = pg_sys::F_NAMEEQ;
    fn datum(self) -> pg_sys::Datum {
        // SAFETY: the copy has the bytes of a name, and NUL behind the text.
        unsafe {
            let name = pg_sys::palloc0(size_of::<pg_sys::NameData>()).cast::<u8>();
            let length = self.0.len().min(pg_sys::NAMEDATALEN as usize - 1);
            std::ptr::copy_nonoverlapping(self.0.as_ptr(), name, length);
            pg_sys::Datum::from(name)
        }
    }
}

// SAFETY: int8eq compares values of type bigint.
unsafe impl KeyValue for i64 {
    const EQUALS: u32 = pg_sys::F_INT8EQ;
    fn datum(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self)
    }
}

// SAFETY: oideq compares values of type oid.
unsafe impl KeyValue for pg_sys::Oid {
    const EQUALS: u32 = pg_sys::F_OIDEQ;
    fn datum(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self)
    }
}

// SAFETY: regclass is compared as oid is.
unsafe impl KeyValue for RegClass {
    const EQUALS: u32 = pg_sys::F_OIDEQ;
    fn datum(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.0)
    }
}

// SAFETY: an integer is passed by value.
unsafe impl Writable for i32 {
    fn datum(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self)
    }
}

// SAFETY: a timestamptz is passed by value.
unsafe impl Writable for Timestamp {
    fn datum(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.0)
    }
}

// SAFETY: pgrx makes a text of it, in the current memory context.
unsafe impl Writable for String {
    fn datum(self) -> pg_sys::Datum {
        self.into_datum().unwrap_or(pg_sys::Datum::null())
    }
}
