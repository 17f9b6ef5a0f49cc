//! Reads the table of contents of an archive in pg_dump's custom format.
//!
//! Objects are distinguished by the archive's metadata, never by text that a user can write: names, comments and
//! literals are counted strings, whatever their contents.

use std::collections::HashSet;
use std::fmt;

/// Why an archive cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not an archive in custom format.
    NoArchive,
    /// Its format version is not supported.
    Version(u8, u8),
    /// It is truncated or corrupted.
    Damaged,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoArchive => f.write_str("The output is not an archive in custom format."),
            Self::Version(major, minor) => {
                write!(f, "Version {major}.{minor} of the archive format is not supported.")
            }
            Self::Damaged => f.write_str("The archive is corrupted."),
        }
    }
}

/// An object of the database, or a comment, privilege or label on one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// ID in the archive, as used by `pg_restore --use-list`.
    pub id: i64,
    /// Catalog of the object on the dumped server; 0 for comments, privileges and labels.
    pub class: u32,
    /// OID in that catalog.
    pub object: u32,
    /// Its type: `TABLE`, `FK CONSTRAINT`, `COMMENT`, ….
    pub kind: String,
    /// Its name as displayed by pg_dump. For messages only, because it may contain anything.
    pub name: String,
    /// Its schema, if it has one.
    pub schema: Option<String>,
    /// Its owner; the table's owner for an object that belongs to a table (index, trigger, constraint, policy, rule).
    /// May be empty.
    pub owner: String,
    /// The statements that create it.
    pub definition: String,
    /// The statement that drops it.
    pub drop: String,
    /// Tablespace; None if it has no storage, empty for the database's default.
    pub tablespace: Option<String>,
    /// Table access method.
    pub access_method: Option<String>,
    /// Whether it is a partitioned table, whose access method only applies to its partitions.
    pub is_partitioned: bool,
    /// IDs of the entries that must exist before it.
    pub depends: Vec<i64>,
}

/// Types whose definition does not set the owner, and that have one of their own.
const OWNED: [&str; 23] = [
    "AGGREGATE",
    "COLLATION",
    "CONVERSION",
    "DOMAIN",
    "EVENT TRIGGER",
    "FOREIGN DATA WRAPPER",
    "FOREIGN TABLE",
    "FUNCTION",
    "MATERIALIZED VIEW",
    "OPERATOR",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "PROCEDURAL LANGUAGE",
    "PROCEDURE",
    "SCHEMA",
    "SEQUENCE",
    "SERVER",
    "STATISTICS",
    "TABLE",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TYPE",
    "VIEW",
];

impl Entry {
    /// Whether it sets how the archive's text must be read, and belongs to no object.
    pub fn is_setting(&self) -> bool {
        matches!(self.kind.as_str(), "ENCODING" | "STDSTRINGS" | "SEARCHPATH")
    }

    /// The object as named in ALTER and DROP, if it has an owner of its own: `TABLE s.t`, `FUNCTION s.f(integer)`.
    pub fn owned_object(&self) -> Option<&str> {
        let is_owned = OWNED.contains(&self.kind.as_str()) && !self.owner.is_empty();
        let name = self.drop.strip_prefix("DROP ")?.trim_end().strip_suffix(';')?;
        is_owned.then_some(name)
    }
}

/// Splits entries into the remaining and the chosen ones, with all entries that depend on these, such as their
/// comments. Both keep their order.
pub fn divide(entries: Vec<Entry>, chosen: impl Fn(&Entry) -> bool) -> (Vec<Entry>, Vec<Entry>) {
    let mut taken = HashSet::new();
    entries.into_iter().partition(|entry| {
        let goes = chosen(entry) || entry.depends.iter().any(|id| taken.contains(id));
        if goes {
            taken.insert(entry.id);
        }
        !goes
    })
}

/// The entries of an archive in restore order.
pub fn entries(archive: &[u8]) -> Result<Vec<Entry>, Unreadable> {
    let mut reader = Reader::new(archive)?;
    reader.skip_heading()?;
    let count = reader.number()?;
    (0..count).map(|_| reader.entry()).collect()
}

struct Reader<'a> {
    rest: &'a [u8],
    minor: u8,
    number_size: usize,
    offset_size: usize,
}

impl<'a> Reader<'a> {
    /// Format 1.14 is used by PostgreSQL 12 to 15, 1.15 by 16, 1.16 by 17 and 18.
    fn new(archive: &'a [u8]) -> Result<Self, Unreadable> {
        let rest = archive.strip_prefix(b"PGDMP").ok_or(Unreadable::NoArchive)?;
        let mut reader = Self { rest, minor: 0, number_size: 0, offset_size: 0 };
        let [major, minor, _, number_size, offset_size, format] = reader.bytes()?;
        match (major, minor) {
            (1, 14..=16) if format == 1 => {}
            (1, 14..=16) => return Err(Unreadable::NoArchive),
            _ => return Err(Unreadable::Version(major, minor)),
        }
        reader.minor = minor;
        (reader.number_size, reader.offset_size) = (number_size.into(), offset_size.into());
        Ok(reader)
    }

    /// Compression, time, database, versions.
    fn skip_heading(&mut self) -> Result<(), Unreadable> {
        if self.minor >= 15 {
            self.take(1).map(|_| ())?
        } else {
            self.number().map(|_| ())?
        }
        for _ in 0..7 {
            self.number()?;
        }
        for _ in 0..3 {
            self.string()?;
        }
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Unreadable::Damaged)?;
        self.rest = rest;
        Ok(taken)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        self.take(N)?.try_into().map_err(|_| Unreadable::Damaged)
    }

    /// A sign byte, then the bytes of the absolute value, least significant first.
    fn number(&mut self) -> Result<i64, Unreadable> {
        let [sign] = self.bytes()?;
        let bytes = self.take(self.number_size)?;
        if bytes.len() > 7 {
            return Err(Unreadable::Damaged);
        }
        let value = bytes.iter().rev().fold(0, |value, &byte| value << 8 | i64::from(byte));
        Ok(if sign == 0 { value } else { -value })
    }

    /// None for a missing string.
    fn string(&mut self) -> Result<Option<String>, Unreadable> {
        let Ok(length) = usize::try_from(self.number()?) else { return Ok(None) };
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| Unreadable::Damaged)?;
        Ok(Some(text.to_owned()))
    }

    fn text(&mut self) -> Result<String, Unreadable> {
        self.string().map(Option::unwrap_or_default)
    }

    fn oid(&mut self) -> Result<u32, Unreadable> {
        let text = self.text()?;
        if text.is_empty() { Ok(0) } else { text.parse().map_err(|_| Unreadable::Damaged) }
    }

    fn entry(&mut self) -> Result<Entry, Unreadable> {
        let id = self.number()?;
        let _has_data = self.number()?;
        let (class, object) = (self.oid()?, self.oid()?);
        let (name, kind) = (self.text()?, self.text()?);
        let _section = self.number()?;
        let (definition, drop, _copy) = (self.text()?, self.text()?, self.text()?);
        let (schema, tablespace, access_method) = (self.string()?, self.string()?, self.string()?);
        let is_partitioned = self.minor >= 16 && self.number()? == i64::from(b'p');
        let owner = self.text()?;
        let _with_oids = self.text()?;
        let mut depends = Vec::new();
        while let Some(number) = self.string()? {
            depends.push(number.parse().map_err(|_| Unreadable::Damaged)?);
        }
        // Offset of its data.
        self.take(1 + self.offset_size)?;
        let schema = schema.filter(|schema| !schema.is_empty());
        Ok(Entry {
            id,
            class,
            object,
            kind,
            name,
            schema,
            owner,
            definition,
            drop,
            tablespace,
            access_method,
            is_partitioned,
            depends,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Writer(Vec<u8>);

    impl Writer {
        fn number(&mut self, value: i64) {
            self.0.push(u8::from(value < 0));
            self.0.extend_from_slice(&u32::try_from(value.abs()).unwrap().to_le_bytes());
        }

        fn string(&mut self, value: Option<&str>) {
            let Some(value) = value else { return self.number(-1) };
            self.number(value.len().try_into().unwrap());
            self.0.extend_from_slice(value.as_bytes());
        }
    }

    fn written(minor: u8, entries: &[Entry]) -> Vec<u8> {
        let mut out = Writer(b"PGDMP\x01".to_vec());
        out.0.extend_from_slice(&[minor, 0, 4, 8, 1]);
        if minor >= 15 {
            out.0.push(0)
        } else {
            out.number(-1)
        }
        (0..7).for_each(|_| out.number(1));
        ["db", "15.18", "15.18"].iter().for_each(|text| out.string(Some(text)));
        out.number(entries.len().try_into().unwrap());
        for entry in entries {
            out.number(entry.id);
            out.number(0);
            out.string(Some(&entry.class.to_string()));
            out.string(Some(&entry.object.to_string()));
            out.string(Some(&entry.name));
            out.string(Some(&entry.kind));
            out.number(2);
            out.string(Some(&entry.definition));
            out.string(Some(&entry.drop));
            out.string(None);
            out.string(entry.schema.as_deref());
            out.string(entry.tablespace.as_deref());
            out.string(entry.access_method.as_deref());
            if minor >= 16 {
                out.number(if entry.is_partitioned { b'p'.into() } else { b'r'.into() });
            }
            out.string(Some(&entry.owner));
            out.string(Some("false"));
            entry.depends.iter().for_each(|id| out.string(Some(&id.to_string())));
            out.string(None);
            out.0.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        out.0
    }

    fn entry(id: i64, kind: &str, depends: &[i64]) -> Entry {
        Entry {
            id,
            class: 1259,
            object: 16384,
            kind: kind.into(),
            name: "x\n--\n-- Name: z; Type: FK CONSTRAINT; Schema: s; Owner: o".into(),
            schema: Some("s; FK CONSTRAINT".into()),
            owner: "o\n; 1".into(),
            definition: format!("COMMENT ON x IS '{id}\n--\n-- Name: z; Type: FK CONSTRAINT; ';\n"),
            depends: depends.to_vec(),
            ..Entry::default()
        }
    }

    #[test]
    fn entries_are_read_as_they_were_written() {
        let mut all = vec![entry(1, "TABLE", &[]), entry(2000, "FK CONSTRAINT", &[1])];
        all[0].tablespace = Some(String::new());
        all[0].access_method = Some("heap".into());
        for minor in 14..=16 {
            all[0].is_partitioned = minor == 16;
            assert_eq!(entries(&written(minor, &all)), Ok(all.clone()));
        }
    }

    #[test]
    fn what_is_no_whole_archive_is_refused() {
        let whole = written(14, &[entry(1, "TABLE", &[])]);
        for length in 0..whole.len() {
            assert!(entries(&whole[..length]).is_err(), "{length} bytes");
        }
        assert_eq!(entries(b"-- PostgreSQL database dump"), Err(Unreadable::NoArchive));
        assert_eq!(entries(&written(17, &[])), Err(Unreadable::Version(1, 17)));
    }

    #[test]
    fn comments_go_with_what_they_are_on() {
        let all = vec![
            entry(1, "CONSTRAINT", &[]),
            entry(5, "FK CONSTRAINT", &[1]),
            entry(3, "COMMENT", &[1]),
            entry(4, "COMMENT", &[5]),
        ];
        let (rest, keys) = divide(all, |entry| entry.kind == "FK CONSTRAINT");
        let ids = |entries: &[Entry]| entries.iter().map(|entry| entry.id).collect::<Vec<_>>();
        assert_eq!((ids(&rest), ids(&keys)), (vec![1, 3], vec![5, 4]));
    }

    #[test]
    fn objects_with_an_owner_are_named_as_drop_names_them() {
        let mut one = entry(1, "FUNCTION", &[]);
        one.drop = "DROP FUNCTION s.f(integer, \"a;b\");\n".into();
        assert_eq!(one.owned_object(), Some("FUNCTION s.f(integer, \"a;b\")"));
        one.kind = "TRIGGER".into();
        assert_eq!(one.owned_object(), None);
    }
}
