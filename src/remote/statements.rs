//! Cache of a session's prepared statements: those used at least twice, at most [`LIMIT`], with least recently used
//! replacement. Keyed by text, parameter types and result columns, which the node has confirmed for prepared ones.
//!
//! A statement prepared before a table was altered may fail ("cached plan must not change result type"), while the
//! client, whose own statement is parsed again, is not to blame. So each entry records the state of definitions with
//! which it was prepared, and is prepared again when that has changed.

use super::messages::Statement;
use crate::pg::exec::result_columns::ResultColumns;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// Statements remembered per session.
const LIMIT: usize = 256;

/// How to execute a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Parse it as the unnamed statement.
    No,
    /// Parse it under this number, and call [`StatementCache::parsed`] when the node has.
    Prepare(u32),
    /// It is prepared under this number.
    Prepared(u32),
}

struct Entry {
    sql: Box<[u8]>,
    types: Box<[u32]>,
    columns: ResultColumns,
    /// Number on the node, and the state of definitions with which it was prepared.
    number: Option<(u32, u64)>,
    used: u64,
}

/// The cached statements of one session.
#[derive(Default)]
pub struct StatementCache {
    entries: HashMap<u64, Entry>,
    hasher: BuildHasherDefault<DefaultHasher>,
    clock: u64,
    last_number: u32,
    closing: Vec<u32>,
}

impl StatementCache {
    /// Looks up a statement and marks it as used. `definitions` identifies the state of the tables' definitions.
    pub fn look_up(&mut self, st: &Statement<'_>, definitions: u64) -> (u64, Known) {
        self.clock += 1;
        let columns = (st.columns.described, st.columns.own_types);
        let key = self.hasher.hash_one((st.sql, st.types, columns));
        match self.entries.get_mut(&key) {
            Some(entry)
                if *entry.sql == *st.sql
                    && *entry.types == *st.types
                    && entry.columns == st.columns =>
            {
                entry.used = self.clock;
                if let Some((number, of)) = entry.number {
                    if of == definitions {
                        return (key, Known::Prepared(number));
                    }
                    self.closing.push(number);
                    entry.number = None;
                }
                self.last_number += 1;
                (key, Known::Prepare(self.last_number))
            }
            _ => {
                self.remember(key, st);
                (key, Known::No)
            }
        }
    }

    fn remember(&mut self, key: u64, st: &Statement<'_>) {
        if self.entries.len() >= LIMIT
            && let Some(oldest) = self.entries.iter().min_by_key(|(_, e)| e.used).map(|(k, _)| *k)
        {
            self.forget(oldest);
        }
        let entry = Entry {
            sql: st.sql.into(),
            types: st.types.into(),
            columns: st.columns,
            number: None,
            used: self.clock,
        };
        if let Some(Entry { number: Some((number, _)), .. }) = self.entries.insert(key, entry) {
            self.closing.push(number);
        }
    }

    /// Records that the node has parsed the statement under this number.
    pub fn parsed(&mut self, key: u64, number: u32, definitions: u64) {
        match self.entries.get_mut(&key) {
            Some(entry) if entry.number.is_none() => entry.number = Some((number, definitions)),
            _ => self.closing.push(number),
        }
    }

    /// Discards the prepared statement.
    pub fn forget(&mut self, key: u64) {
        if let Some(Entry { number: Some((number, _)), .. }) = self.entries.remove(&key) {
            self.closing.push(number);
        }
    }

    /// Forgets everything, as DEALLOCATE ALL does.
    pub fn clear(&mut self) {
        let numbers = self.entries.drain().filter_map(|(_, entry)| entry.number.map(|n| n.0));
        self.closing.extend(numbers);
    }

    /// Returns the numbers of statements to be closed on the node, and clears the list.
    pub fn take_closing(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.closing)
    }

    /// Whether there is something to close.
    #[inline]
    pub fn has_closing(&self) -> bool {
        !self.closing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement<'a>(sql: &'a [u8], types: &'a [u32], columns: u64) -> Statement<'a> {
        let columns = ResultColumns { described: 1, own_types: columns };
        Statement { types, columns, ..Statement::plain(sql) }
    }

    #[test]
    fn the_second_use_prepares_and_the_third_reuses() {
        let mut cache = StatementCache::default();
        assert_eq!(cache.look_up(&statement(b"select $1", &[23], 0), 0).1, Known::No);
        let (key, known) = cache.look_up(&statement(b"select $1", &[23], 0), 0);
        assert_eq!(known, Known::Prepare(1));
        // Not confirmed by the node, so the next attempt uses another number.
        assert_eq!(cache.look_up(&statement(b"select $1", &[23], 0), 0).1, Known::Prepare(2));
        cache.parsed(key, 2, 0);
        assert_eq!(cache.look_up(&statement(b"select $1", &[23], 0), 0).1, Known::Prepared(2));
        assert_eq!(cache.look_up(&statement(b"select $1", &[25], 0), 0).1, Known::No);
    }

    #[test]
    fn other_columns_are_another_statement() {
        let mut cache = StatementCache::default();
        for columns in [1, 2] {
            assert_eq!(cache.look_up(&statement(b"select * from t", &[], columns), 0).1, Known::No);
        }
        let (key, _) = cache.look_up(&statement(b"select * from t", &[], 1), 0);
        cache.parsed(key, 1, 0);
        assert_eq!(cache.look_up(&statement(b"select * from t", &[], 1), 0).1, Known::Prepared(1));
        assert_eq!(cache.look_up(&statement(b"select * from t", &[], 2), 0).1, Known::Prepare(2));
    }

    #[test]
    fn a_changed_definition_prepares_again() {
        let mut cache = StatementCache::default();
        cache.look_up(&statement(b"select * from t", &[], 0), 7);
        let (key, _) = cache.look_up(&statement(b"select * from t", &[], 0), 7);
        cache.parsed(key, 1, 7);
        assert_eq!(cache.look_up(&statement(b"select * from t", &[], 0), 8).1, Known::Prepare(2));
        assert_eq!(cache.take_closing(), [1]);
    }

    #[test]
    fn the_least_recently_used_goes_first_and_is_closed() {
        let mut cache = StatementCache::default();
        for i in 0..LIMIT as u32 {
            let sql = i.to_string();
            let (key, _) = cache.look_up(&statement(sql.as_bytes(), &[], 0), 0);
            cache.parsed(key, i + 1, 0);
        }
        cache.look_up(&statement(b"0", &[], 0), 0);
        cache.look_up(&statement(b"new", &[], 0), 0);
        assert_eq!(cache.take_closing(), [2], "statement 1 was the oldest");
        assert_eq!(cache.look_up(&statement(b"0", &[], 0), 0).1, Known::Prepared(1));
        cache.clear();
        assert_eq!(cache.take_closing().len(), LIMIT - 1);
    }
}
