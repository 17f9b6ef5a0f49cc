//! The settings (GUCs) that a session on another server must follow, read directly from the server's records: comparing
//! them with the previous values needs no memory allocation and no formatting.

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

/// Which settings a session on another server follows.
pub struct Followed {
    /// Followed regardless of their source.
    pub always: &'static [&'static CStr],
    /// Superusers' settings; if one cannot be followed, nothing may run there.
    pub decisive: &'static [&'static CStr],
    /// Not followed even if set by the client.
    pub never: &'static [&'static str],
    /// Like [`Self::never`], for all names with this prefix.
    pub never_of: &'static str,
}

type Record = *mut pg_sys::config_generic;

#[derive(PartialEq)]
enum Raw {
    Word(u64),
    Text(Vec<u8>),
}

/// The settings as of the last look. The pointers are compared, and dereferenced only if found again in the same walk:
/// SET can free the records of settings that no library has defined.
pub struct Scanner {
    followed: &'static Followed,
    /// The server's own settings, whose records do not move.
    always: Vec<Record>,
    recorded: Vec<(Record, Raw)>,
    beyond_reach: Option<(Record, Vec<u8>)>,
}

impl Scanner {
    /// A scanner without a previous state.
    pub const fn new(followed: &'static Followed) -> Self {
        Self { followed, always: Vec::new(), recorded: Vec::new(), beyond_reach: None }
    }

    /// Looks at all settings; true if something differs from the last look.
    pub fn look(&mut self) -> bool {
        self.walk(|_| ())
    }

    /// Like [`Self::look`], and passes each setting that is followed to `seen`, valid during that call.
    fn walk(&mut self, mut seen: impl FnMut(Record)) -> bool {
        // SAFETY: the records of settings are valid until the next SET; nothing here runs one.
        unsafe {
            let mut at = 0;
            let mut same = true;
            let mut beyond_reach = None;
            let rules = self.followed;
            // In a stable order.
            with_records(|records| {
                if self.always.is_empty() {
                    self.always =
                        rules.always.iter().filter_map(|name| find(records, name)).collect();
                }
                let mut followed = |record: Record| {
                    let follows = Follows::of(record, rules);
                    if follows == Follows::Cannot && beyond_reach.is_none() {
                        beyond_reach = Some(record);
                    }
                    follows == Follows::Yes
                };
                let rest =
                    records.iter().copied().filter(|&r| followed(r) && !self.always.contains(&r));
                let always = self.always.clone();
                for record in always.into_iter().chain(rest) {
                    same &= note(&mut self.recorded, at, record);
                    seen(record);
                    at += 1;
                }
            });
            let known = self.beyond_reach.as_ref().map(|(record, _)| *record);
            same &= at == self.recorded.len() && beyond_reach == known;
            self.recorded.truncate(at);
            self.beyond_reach = beyond_reach.map(|record| (record, name(record).to_vec()));
            !same
        }
    }

    /// A setting that changes the effect of statements, and that the session's user cannot change on another server, as
    /// of the last look.
    pub fn beyond_reach(&self) -> Option<Vec<u8>> {
        self.beyond_reach.as_ref().map(|(_, name)| name.clone())
    }

    /// The current settings, sorted by name.
    pub fn settings(&mut self) -> Vec<Setting> {
        let mut settings = Vec::new();
        self.walk(|record| {
            // SAFETY: a record found in this walk.
            settings.push(unsafe {
                Setting {
                    name: name(record).to_vec(),
                    value: text(record),
                    privileged: (*record).context == pg_sys::GucContext::PGC_SUSET,
                }
            });
        });
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

/// The values that RESET would set for settings with these names, if they are booleans, enums or integers.
pub fn reset_values(names: &[&CStr]) -> Vec<(String, String)> {
    let mut values = Vec::new();
    // SAFETY: the records of settings are valid until the next SET; nothing here runs one.
    unsafe {
        with_records(|records| {
            for record in names.iter().filter_map(|name| find(records, name)) {
                if let Some(value) = reset_text(record) {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    values.push((text(name(record)), text(&value)));
                }
            }
        });
    }
    values
}

unsafe fn name<'a>(record: Record) -> &'a [u8] {
    // SAFETY: by the caller's promise.
    unsafe { CStr::from_ptr((*record).name).to_bytes() }
}

/// Whether a session on another server follows this setting.
#[derive(PartialEq)]
enum Follows {
    Yes,
    No,
    /// It should, and may not.
    Cannot,
}

impl Follows {
    /// It is followed if it was set for this session, database or role, and a session on a node may set it.
    /// The existence of a placeholder matters, whatever its value: `current_setting(…, true)` returns
    /// an empty string instead of NULL, and the placeholder remains when the setting is undone.
    /// an empty text or NULL, and it stays when what was set is taken back.
    #[inline]
    unsafe fn of(record: Record, rules: &Followed) -> Self {
        // SAFETY: by the caller's promise.
        unsafe {
            let fields = &*record;
            let placeholder = fields.flags as u32 & pg_sys::GUC_CUSTOM_PLACEHOLDER != 0;
            if !placeholder
                && (fields.source < pg_sys::GucSource::PGC_S_DATABASE
                    || fields.source == pg_sys::GucSource::PGC_S_OVERRIDE)
            {
                return Self::No;
            }
            match fields.context {
                pg_sys::GucContext::PGC_USERSET => {}
                // What a superuser set for the database or role the node's own catalogs say; the session's user
                // cannot.
                pg_sys::GucContext::PGC_SUSET => {
                    let (user, _) = crate::pg::session::xact::users();
                    if fields.srole != user && !pg_sys::superuser_arg(user) {
                        return Self::without_rights(record, rules);
                    }
                }
                _ => return Self::No,
            }
            let name = name(record);
            let prefix = rules.never_of.as_bytes();
            let has_prefix =
                name.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix));
            let never = has_prefix || rules.never.iter().any(|never| never.as_bytes() == name);
            if never { Self::No } else { Self::Yes }
        }
    }

    /// For a setting that a function with more rights has set in this session.
    unsafe fn without_rights(record: Record, rules: &Followed) -> Self {
        // SAFETY: by the caller's promise.
        unsafe {
            let decisive =
                rules.decisive.iter().any(|decisive| decisive.to_bytes() == name(record))
                    && (*record).source > pg_sys::GucSource::PGC_S_DATABASE_USER
                    && reset_text(record).is_some_and(|reset| reset != text(record));
            if decisive { Self::Cannot } else { Self::No }
        }
    }
}

/// The value that RESET would set, for booleans, enums and integers.
unsafe fn reset_text(record: Record) -> Option<Vec<u8>> {
    // SAFETY: by the caller's promise; the casts follow the type.
    unsafe {
        match (*record).vartype {
            pg_sys::config_type::PGC_BOOL => {
                let on = (*record.cast::<pg_sys::config_bool>()).reset_val;
                Some(if on { b"on".to_vec() } else { b"off".to_vec() })
            }
            pg_sys::config_type::PGC_INT => {
                Some((*record.cast::<pg_sys::config_int>()).reset_val.to_string().into_bytes())
            }
            pg_sys::config_type::PGC_ENUM => {
                let record = record.cast::<pg_sys::config_enum>();
                let word = pg_sys::config_enum_lookup_by_value(record, (*record).reset_val);
                Some(CStr::from_ptr(word).to_bytes().to_vec())
            }
            _ => None,
        }
    }
}

/// Compares the entry at a position with the setting and replaces it if it differs.
unsafe fn note(recorded: &mut Vec<(Record, Raw)>, at: usize, record: Record) -> bool {
    // SAFETY: by the caller's promise: the record is valid, `variable` points to a value of its type.
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
        if let Some((old, raw)) = recorded.get(at)
            && *old == record
        {
            match (raw, word) {
                (Raw::Word(old), Some(new)) if *old == new => return true,
                (Raw::Text(old), None) if old.as_slice() == string(record) => return true,
                _ => {}
            }
        }
        let raw = word.map_or_else(|| Raw::Text(string(record).to_vec()), Raw::Word);
        match recorded.get_mut(at) {
            Some(entry) => *entry = (record, raw),
            None => recorded.push((record, raw)),
        }
        false
    }
}

unsafe fn string<'a>(record: Record) -> &'a [u8] {
    // SAFETY: by the caller's promise: a string setting; NULL shows as empty.
    unsafe {
        let value = *(*record.cast::<pg_sys::config_string>()).variable;
        if value.is_null() { &[] } else { CStr::from_ptr(value).to_bytes() }
    }
}

/// The value as `set_config` takes it, without loss (SHOW rounds real numbers).
unsafe fn text(record: Record) -> Vec<u8> {
    // SAFETY: by the caller's promise.
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
