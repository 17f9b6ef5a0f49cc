//! Statement statistics for each schema, counted in shared memory by all backends.
//!
//! A hash table with open addressing. A backend looks up a schema's entry once and remembers it; after that a statement
//! costs a few additions in one cache line, without locks. An entry is claimed by setting its key, and released only
//! when its schema no longer exists. Two backends may claim two entries for the same schema concurrently: readers add
//! them up.

use crate::pg::ipc::shared_memory::{Table, Unlocked, plain_struct};
use crate::pg::session;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Key of a released entry; entries after it may still be in use.
const GONE: u64 = u64::MAX;
/// Maximum distance of an entry from its home position; a schema that finds none is not counted.
const REACH: usize = 256;

plain_struct! {
    /// Counters of one schema in one database. All zero if unused.
    #[repr(C, align(64))]
    pub(super) struct Entry {
        /// OIDs of database and schema.
        key: AtomicU64,
        calls: AtomicU64,
        rows: AtomicU64,
        bytes: AtomicU64,
        micros: AtomicU64,
        errors: AtomicU64,
        /// `micros` when the load was last computed.
        seen_micros: AtomicU64,
        /// Seconds of statements per second, as f64.
        load: AtomicU64,
        /// Bytes on its node when last measured, plus one; 0 if never.
        size: AtomicU64,
    }
}

plain_struct! {
    /// Data that belongs to no schema.
    #[repr(C, align(64))]
    pub(super) struct Head {
        /// Start of counting (microseconds since 2000); 0 for the server's start.
        since: AtomicU64,
        /// Number of statements of schemas without an entry.
        uncounted: AtomicU64,
    }
}

pub(super) static SINCE: Unlocked<Head> = Unlocked::new(c"helios_schemas_since");
pub(super) static ENTRIES: Table<Entry> = Table::new(c"helios_schemas", capacity);

thread_local! {
    static KNOWN: RefCell<HashMap<u32, usize>> = RefCell::default();
    static LAST: Cell<(u32, usize)> = const { Cell::new((0, 0)) };
}

/// Counters of a schema.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counters {
    /// Number of successful statements.
    pub calls: u64,
    /// Number of rows returned or affected.
    pub rows: u64,
    /// Size of the returned rows in bytes.
    pub bytes: u64,
    /// Microseconds from sending a statement to its last row.
    pub micros: u64,
    /// Number of failed statements.
    pub errors: u64,
    /// Seconds of statements per second, with more weight on recent ones.
    pub load: f64,
    /// Size on its node in bytes, if measured.
    pub size: Option<u64>,
}

/// Number of entries for `schemas` schemas: a power of two with free space.
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

/// The positions at which a key may be, in order.
fn places(key: u64, count: usize) -> impl Iterator<Item = usize> {
    let first = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
    (0..REACH.min(count)).map(move |step| (first + step) & (count - 1))
}

/// Finds the schema's entry; creates it if `make` is set and it does not exist.
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
        return None; // another backend was faster; retry next time
    }
    let claimed = entries[at].key.compare_exchange(before, key, Relaxed, Relaxed).is_ok();
    claimed.then_some(at)
}

/// The entry in which this backend counts a schema.
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

/// Counts a successful statement.
#[inline]
pub fn add(schema: u32, rows: u64, bytes: u64, micros: u64) {
    let Some(entry) = own(schema) else { return };
    entry.calls.fetch_add(1, Relaxed);
    entry.rows.fetch_add(rows, Relaxed);
    entry.bytes.fetch_add(bytes, Relaxed);
    entry.micros.fetch_add(micros, Relaxed);
}

/// Counts a failed statement.
pub fn add_error(schema: u32, micros: u64) {
    let Some(entry) = own(schema) else { return };
    entry.errors.fetch_add(1, Relaxed);
    entry.micros.fetch_add(micros, Relaxed);
}

/// Records a schema's size on its node in bytes.
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

/// Counters of all schemas of this database, by OID.
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

/// Computes every schema's load, `seconds` after the last time; older load counts half after `half_life` seconds.
/// Entries of schemas for which `exists` is false are released. Called by one process at a time.
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

/// Resets the counters of one schema of this database, or of all. Sizes are kept, because they are not counters.
pub fn reset(only: Option<u32>) {
    of_this_database()
        .filter(|(schema, _)| only.is_none_or(|only| only == *schema))
        .for_each(|(_, entry)| clear(entry));
    if only.is_none() {
        SINCE.get().since.store(now(), Relaxed);
        SINCE.get().uncounted.store(0, Relaxed);
    }
}

/// Records the start of counting, unless it is set: at the server's start, and again after a crash restart.
pub fn begin() {
    let _ = SINCE.get().since.compare_exchange(0, now(), Relaxed, Relaxed);
}

/// Seconds since the start of counting, and the number of statements of schemas without an entry.
pub fn age() -> (f64, u64) {
    begin();
    let since = SINCE.get().since.load(Relaxed);
    let uncounted = SINCE.get().uncounted.load(Relaxed);
    (now().saturating_sub(since) as f64 / 1e6, uncounted)
}
