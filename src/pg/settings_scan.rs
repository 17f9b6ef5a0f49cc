//! The settings (GUCs) that a node has to follow, read straight from the server's own records: comparing
//! them with what was seen before allocates nothing and formats nothing.

use pgrx::pg_sys;
use std::ffi::CStr;

/// A setting and its value, as `set_config` takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Name in the server's spelling.
    pub name: Vec<u8>,
    /// Value, numbers in the setting's base unit.
    pub value: Vec<u8>,
    /// Whether only superusers (or those granted SET on it) may change it.
    pub privileged: bool,
}

/// These must be equal on both sides whoever set them: they shape what values look like, which objects
/// names mean, and what a transaction is.
const ALWAYS: [&CStr; 15] = [
    c"DateStyle",
    c"IntervalStyle",
    c"TimeZone",
    c"bytea_output",
    c"default_text_search_config",
    c"default_transaction_deferrable",
    c"default_transaction_isolation",
    c"default_transaction_read_only",
    c"extra_float_digits",
    c"lc_monetary",
    c"lc_numeric",
    c"lc_time",
    c"search_path",
    c"standard_conforming_strings",
    c"xmlbinary",
];

/// These say something about the client's connection or transaction here, or are followed by other means. A
/// statement that takes too long is cancelled from here: a timer on the node would also run while settings
/// are brought up to date.
const NEVER: [&str; 22] = [
    "client_connection_check_interval",
    "client_encoding",
    "dynamic_library_path",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "is_superuser",
    "local_preload_libraries",
    "role",
    "seed",
    "session_authorization",
    "session_preload_libraries",
    "statement_timeout",
    "tcp_keepalives_count",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_user_timeout",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
    "transaction_timeout",
    "trace_notify",
    "exit_on_error",
];

type Record = *mut pg_sys::config_generic;

#[derive(PartialEq)]
enum Raw {
    Word(u64),
    Text(Vec<u8>),
}

/// What was seen at the last look.
#[derive(Default)]
pub struct Scanner {
    always: Vec<Record>,
    seen: Vec<(Record, Raw)>,
}

impl Scanner {
    /// Looks at all settings; true if something differs from the last look.
    pub fn look(&mut self) -> bool {
        // SAFETY: the records of settings are valid until the next SET; nothing here runs one.
        unsafe {
            let mut at = 0;
            let mut same = true;
            // Called for each setting that a node follows, in a stable order.
            with_records(|records| {
                if self.always.is_empty() {
                    self.always = ALWAYS.iter().filter_map(|name| find(records, name)).collect();
                }
                let rest = records.iter().copied().filter(|&r| {
                    // SAFETY: see above.
                    unsafe { is_followed(r) && !self.always.contains(&r) }
                });
                let always = self.always.clone();
                for record in always.into_iter().chain(rest) {
                    same &= note(&mut self.seen, at, record);
                    at += 1;
                }
            });
            same &= at == self.seen.len();
            self.seen.truncate(at);
            !same
        }
    }

    /// The settings of the last look, sorted by name.
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings: Vec<_> = self
            .seen
            .iter()
            .map(|(record, _)| {
                // SAFETY: as in `look`, which was called just before.
                unsafe {
                    Setting {
                        name: CStr::from_ptr((**record).name).to_bytes().to_vec(),
                        value: text(*record),
                        privileged: (**record).context == pg_sys::GucContext::PGC_SUSET,
                    }
                }
            })
            .collect();
        settings.sort_by(|a, b| a.name.cmp(&b.name));
        settings
    }
}

/// When the configuration file was last read.
#[inline]
pub fn reload_time() -> i64 {
    // SAFETY: reads a static.
    unsafe { pg_sys::PgReloadTime }
}

#[cfg(feature = "pg15")]
unsafe fn with_records(work: impl FnOnce(&[Record])) {
    // SAFETY: the array has as many entries as the server says.
    unsafe {
        let count = usize::try_from(pg_sys::GetNumConfigOptions()).unwrap_or(0);
        work(std::slice::from_raw_parts(pg_sys::get_guc_variables(), count));
    }
}

#[cfg(not(feature = "pg15"))]
unsafe fn with_records(work: impl FnOnce(&[Record])) {
    // SAFETY: the array is palloc'd with as many entries as the server says.
    unsafe {
        let mut count = 0;
        let array = pg_sys::get_guc_variables(&mut count);
        work(std::slice::from_raw_parts(array, usize::try_from(count).unwrap_or(0)));
        pg_sys::pfree(array.cast());
    }
}

unsafe fn find(records: &[Record], name: &CStr) -> Option<Record> {
    // SAFETY: records are valid, names are C strings.
    records.iter().copied().find(|&r| unsafe { CStr::from_ptr((*r).name) } == name)
}

/// Whether someone has set it for this session, database or role, and a session on a node may set it.
#[inline]
unsafe fn is_followed(record: Record) -> bool {
    // SAFETY: the caller's word.
    unsafe {
        let record = &*record;
        if record.source < pg_sys::GucSource::PGC_S_DATABASE
            || record.source == pg_sys::GucSource::PGC_S_OVERRIDE
        {
            return false;
        }
        match record.context {
            pg_sys::GucContext::PGC_USERSET => {}
            // What a superuser set for the database or role the node's own catalogs say; the session's user
            // cannot.
            pg_sys::GucContext::PGC_SUSET => {
                let (user, _) = crate::pg::xact::users();
                if record.srole != user && !pg_sys::superuser_arg(user) {
                    return false;
                }
            }
            _ => return false,
        }
        let name = CStr::from_ptr(record.name).to_bytes();
        let ours = name.len() > 7 && name[..7].eq_ignore_ascii_case(b"helios.");
        !ours && !NEVER.iter().any(|never| never.as_bytes() == name)
    }
}

/// Compares the entry at a position with the setting and replaces it if it differs.
unsafe fn note(seen: &mut Vec<(Record, Raw)>, at: usize, record: Record) -> bool {
    // SAFETY: the caller's word: the record is valid, `variable` points to a value of its type.
    unsafe {
        let word = match (*record).vartype {
            pg_sys::config_type::PGC_BOOL => {
                Some(u64::from(*(*record.cast::<pg_sys::config_bool>()).variable))
            }
            pg_sys::config_type::PGC_INT => {
                Some(*(*record.cast::<pg_sys::config_int>()).variable as u64)
            }
            pg_sys::config_type::PGC_REAL => {
                Some((*(*record.cast::<pg_sys::config_real>()).variable).to_bits())
            }
            pg_sys::config_type::PGC_ENUM => {
                Some(*(*record.cast::<pg_sys::config_enum>()).variable as u64)
            }
            _ => None,
        };
        if let Some((old, raw)) = seen.get(at)
            && *old == record
        {
            match (raw, word) {
                (Raw::Word(old), Some(new)) if *old == new => return true,
                (Raw::Text(old), None) if old.as_slice() == string(record) => return true,
                _ => {}
            }
        }
        let raw = word.map_or_else(|| Raw::Text(string(record).to_vec()), Raw::Word);
        match seen.get_mut(at) {
            Some(entry) => *entry = (record, raw),
            None => seen.push((record, raw)),
        }
        false
    }
}

unsafe fn string<'a>(record: Record) -> &'a [u8] {
    // SAFETY: the caller's word: a string setting; NULL shows as empty.
    unsafe {
        let value = *(*record.cast::<pg_sys::config_string>()).variable;
        if value.is_null() { &[] } else { CStr::from_ptr(value).to_bytes() }
    }
}

/// The value as `set_config` takes it, without loss (SHOW rounds real numbers).
unsafe fn text(record: Record) -> Vec<u8> {
    // SAFETY: the caller's word.
    unsafe {
        match (*record).vartype {
            pg_sys::config_type::PGC_BOOL => {
                let on = *(*record.cast::<pg_sys::config_bool>()).variable;
                if on { b"on".to_vec() } else { b"off".to_vec() }
            }
            pg_sys::config_type::PGC_INT => {
                (*(*record.cast::<pg_sys::config_int>()).variable).to_string().into_bytes()
            }
            pg_sys::config_type::PGC_REAL => {
                format!("{:?}", *(*record.cast::<pg_sys::config_real>()).variable).into_bytes()
            }
            pg_sys::config_type::PGC_ENUM => {
                let record = record.cast::<pg_sys::config_enum>();
                let word = pg_sys::config_enum_lookup_by_value(record, *(*record).variable);
                CStr::from_ptr(word).to_bytes().to_vec()
            }
            _ => string(record).to_vec(),
        }
    }
}
