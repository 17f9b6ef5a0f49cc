//! What statements do in each schema, counted in shared memory by all backends.
//!
//! A table with open addressing. A backend finds a schema's entry once and remembers it; after that a statement costs a
//! few additions to one cache line, without any lock. An entry is claimed by setting its key, and given back only when
//! its schema is gone. Two backends may claim two entries for one schema at the same moment: readers add them up.

use crate::pg::ipc::shared_memory::{Table, Unlocked, plain_struct};
use crate::pg::session;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Key of an entry that is free again; entries behind it may still be in use.
const GONE: u64 = u64::MAX;
/// Entries a schema may be away from its place: beyond, it is not counted.
const REACH: usize = 256;

plain_struct! {
    /// One schema of one database. All zero: free.
    #[repr(C, align(64))]
    pub(super) struct Entry {
        /// Database and schema, each by its OID.
        key: AtomicU64,
        calls: AtomicU64,
        rows: AtomicU64,
        bytes: AtomicU64,
        micros: AtomicU64,
        errors: AtomicU64,
        /// `micros` when the load was last computed.
        seen_micros: AtomicU64,
        /// Seconds of statements a second, an f64.
        load: AtomicU64,
        /// Bytes on its node when last asked, plus one; 0: never.
        size: AtomicU64,
    }
}

plain_struct! {
    /// What belongs to no schema.
    #[repr(C, align(64))]
    pub(super) struct Head {
        /// When counting began (microseconds since 2000); 0: with the server.
        since: AtomicU64,
        /// Statements of schemas that found no entry.
        uncounted: AtomicU64,
    }
}

pub(super) static SINCE: Unlocked<Head> = Unlocked::new(c"helios_schemas_since");
pub(super) static ENTRIES: Table<Entry> = Table::new(c"helios_schemas", capacity);

thread_local! {
    static KNOWN: RefCell<HashMap<u32, usize>> = RefCell::default();
    static LAST: Cell<(u32, usize)> = const { Cell::new((0, 0)) };
}

/// What is counted of a schema.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counters {
    /// Statements that ended well.
    pub calls: u64,
    /// Rows that they gave or changed.
    pub rows: u64,
    /// Bytes of the rows that they gave.
    pub bytes: u64,
    /// Microseconds from sending a statement to its last row.
    pub micros: u64,
    /// Statements that failed.
    pub errors: u64,
    /// Seconds of statements a second, recent ones counting more.
    pub load: f64,
    /// Bytes that it has on its node, if that was asked.
    pub size: Option<u64>,
}

/// Entries for `schemas` schemas: a power of two that leaves room between them.
fn capacity() -> usize {
    let schemas = usize::try_from(crate::settings::STATISTICS_SCHEMAS.get()).unwrap_or(1);
    (schemas + schemas / 2).next_power_of_two().max(1024)
}

fn now() -> u64 {
    u64::try_from(session::clock()).unwrap_or(0)
}

fn key(schema: u32) -> u64 {
    u64::from(session::database_id()) << 32 | u64::from(schema)
}

/// The places where a key may be, in order.
fn places(key: u64, count: usize) -> impl Iterator<Item = usize> {
    let first = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
    (0..REACH.min(count)).map(move |step| (first + step) & (count - 1))
}

/// The schema's entry, made if there is none and `make` says so.
fn find(schema: u32, make: bool) -> Option<usize> {
    let (key, entries) = (key(schema), ENTRIES.entries());
    if entries.is_empty() {
        return None;
    }
    let mut free = None;
    for at in places(key, entries.len()) {
        match entries[at].key.load(Relaxed) {
            found if found == key => return Some(at),
            GONE => {
                free.get_or_insert(at);
            }
            0 => {
                free.get_or_insert(at);
                break;
            }
            _ => {}
        }
    }
    let at = free.filter(|_| make)?;
    let before = entries[at].key.load(Relaxed);
    if !matches!(before, 0 | GONE) {
        return None; // somebody was faster: next time
    }
    let claimed = entries[at].key.compare_exchange(before, key, Relaxed, Relaxed).is_ok();
    claimed.then_some(at)
}

/// The entry that this backend counts a schema in.
#[inline]
fn own(schema: u32) -> Option<&'static Entry> {
    let (last, at) = LAST.get();
    let entries = ENTRIES.entries();
    if last == schema
        && let Some(entry) = entries.get(at)
        && entry.key.load(Relaxed) == key(schema)
    {
        return Some(entry);
    }
    let known = KNOWN.with_borrow(|known| known.get(&schema).copied());
    let still = known.filter(|&at| entries[at].key.load(Relaxed) == key(schema));
    let Some(at) = still.or_else(|| find(schema, true)) else {
        SINCE.get().uncounted.fetch_add(1, Relaxed);
        return None;
    };
    KNOWN.with_borrow_mut(|known| known.insert(schema, at));
    LAST.set((schema, at));
    Some(&entries[at])
}

/// Counts a statement that ended well.
#[inline]
pub fn add(schema: u32, rows: u64, bytes: u64, micros: u64) {
    let Some(entry) = own(schema) else { return };
    entry.calls.fetch_add(1, Relaxed);
    entry.rows.fetch_add(rows, Relaxed);
    entry.bytes.fetch_add(bytes, Relaxed);
    entry.micros.fetch_add(micros, Relaxed);
}

/// Counts a statement that failed.
pub fn add_error(schema: u32, micros: u64) {
    let Some(entry) = own(schema) else { return };
    entry.errors.fetch_add(1, Relaxed);
    entry.micros.fetch_add(micros, Relaxed);
}

/// Notes how many bytes a schema has on its node.
pub fn set_size(schema: u32, bytes: u64) {
    if let Some(entry) = own(schema) {
        entry.size.store(bytes.saturating_add(1), Relaxed);
    }
}

fn of_this_database() -> impl Iterator<Item = (u32, &'static Entry)> {
    let database = session::database_id();
    ENTRIES.entries().iter().filter_map(move |entry| {
        let key = entry.key.load(Relaxed);
        (key != GONE && key >> 32 == u64::from(database)).then_some((key as u32, entry))
    })
}

/// What was counted of each schema of this database, by OID.
pub fn all() -> HashMap<u32, Counters> {
    let mut all: HashMap<u32, Counters> = HashMap::new();
    for (schema, entry) in of_this_database() {
        let sum = all.entry(schema).or_default();
        sum.calls += entry.calls.load(Relaxed);
        sum.rows += entry.rows.load(Relaxed);
        sum.bytes += entry.bytes.load(Relaxed);
        sum.micros += entry.micros.load(Relaxed);
        sum.errors += entry.errors.load(Relaxed);
        sum.load += f64::from_bits(entry.load.load(Relaxed));
        sum.size = sum.size.max(entry.size.load(Relaxed).checked_sub(1));
    }
    all
}

/// Computes every schema's load, `seconds` after it was done last; what was before counts half after
/// `half_life` seconds. Entries of schemas that `exists` does not know become free. Called by one process at a time.
pub fn refresh(seconds: f64, half_life: f64, exists: impl Fn(u32) -> bool) {
    let kept = 0.5f64.powf(seconds / half_life);
    for (schema, entry) in of_this_database() {
        if !exists(schema) {
            free(entry);
            continue;
        }
        let micros = entry.micros.load(Relaxed);
        let spent = micros.saturating_sub(entry.seen_micros.swap(micros, Relaxed));
        let now = spent as f64 / 1e6 / seconds;
        let load = f64::from_bits(entry.load.load(Relaxed)) * kept + now * (1.0 - kept);
        entry.load.store(load.to_bits(), Relaxed);
    }
}

fn free(entry: &Entry) {
    clear(entry);
    entry.size.store(0, Relaxed);
    entry.key.store(GONE, Relaxed);
}

fn clear(entry: &Entry) {
    let Entry { calls, rows, bytes, micros, errors, seen_micros, load, .. } = entry;
    for counter in [calls, rows, bytes, micros, errors, seen_micros, load] {
        counter.store(0, Relaxed);
    }
}

/// Resets the counters, for one schema of this database or for all. Sizes stay: they are no count.
pub fn reset(only: Option<u32>) {
    of_this_database()
        .filter(|(schema, _)| only.is_none_or(|only| only == *schema))
        .for_each(|(_, entry)| clear(entry));
    if only.is_none() {
        SINCE.get().since.store(now(), Relaxed);
        SINCE.get().uncounted.store(0, Relaxed);
    }
}

/// Counting begins now, unless it has begun since the counters were last made: with the server, and again when it has
/// restarted after a crash.
pub fn begin() {
    let _ = SINCE.get().since.compare_exchange(0, now(), Relaxed, Relaxed);
}

/// Seconds since counting began, and statements of schemas that found no place in the table.
pub fn age() -> (f64, u64) {
    begin();
    let since = SINCE.get().since.load(Relaxed);
    let uncounted = SINCE.get().uncounted.load(Relaxed);
    (now().saturating_sub(since) as f64 / 1e6, uncounted)
}
