//! Statistics on schemas: counters of statements, and sizes measured on the nodes.
//!
//! Invariant: counting never makes a statement fail, takes no lock, and its cost does not depend on the number of
//! schemas. Lock order: none.

mod sizes;

pub use sizes::{Measured, measure, sizes, warn};

use crate::catalog::{self, Shard};
use crate::error::Result;
use crate::pg::session;
use crate::settings;
use crate::shared::schema_counters::{self, Counters};
use pgrx::pg_sys::Oid;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Half-life of the load, in seconds.
const HALF_LIFE: f64 = 300.0;

/// A statement being counted for the first schema that it names.
#[derive(Default)]
pub struct Counted {
    /// None if it is not counted.
    schema: Option<u32>,
    began: Option<Instant>,
    time: Duration,
    rows: u64,
    bytes: u64,
}

impl Counted {
    /// Starts counting.
    #[inline]
    pub fn begin(mut namespaces: impl Iterator<Item = Oid>) -> Self {
        let schema = namespaces.next().filter(|_| settings::STATISTICS.get());
        let Some(schema) = schema else { return Self::default() };
        let schema = Some(schema.to_u32());
        Self { schema, began: Some(Instant::now()), ..Self::default() }
    }

    /// More was requested from the node.
    pub fn resumed(&mut self) {
        self.began = self.schema.map(|_| Instant::now());
    }

    /// A row of this size arrived.
    #[inline]
    pub fn row(&mut self, bytes: usize) {
        self.rows += 1;
        self.bytes += bytes as u64;
    }

    /// The node has responded: the time spent on processing the rows here is not the node's.
    #[inline]
    pub fn answered(&mut self) {
        if let Some(began) = self.began.take() {
            self.time += began.elapsed();
        }
    }

    /// The statement succeeded and changed this many rows in addition to those returned.
    #[inline]
    pub fn done(&mut self, changed: u64) {
        self.answered();
        if let Some(schema) = self.schema.take() {
            schema_counters::add(schema, self.rows + changed, self.bytes, self.micros());
        }
    }

    /// The statement failed.
    pub fn failed(&mut self) {
        self.answered();
        if let Some(schema) = self.schema.take() {
            schema_counters::add_error(schema, self.micros());
        }
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.time.as_micros()).unwrap_or(u64::MAX)
    }
}

/// Counters of each distributed schema, by name.
pub fn counters() -> Result<HashMap<String, Counters>> {
    let counters = schema_counters::all();
    let of = |name: String| {
        let counted = session::namespace(&name).and_then(|oid| counters.get(&oid.to_u32()));
        (name, counted.copied().unwrap_or_default())
    };
    Ok(catalog::schema_names()?.into_iter().map(of).collect())
}

/// Load of each distributed schema in seconds of statements per second; computed from the current counters if it is too
/// recent.
pub fn loads() -> Result<HashMap<String, f64>> {
    let (age, _) = schema_counters::age();
    let load = |counters: &Counters| match counters.load {
        0.0 if age > 0.0 => counters.micros as f64 / 1e6 / age.max(1.0),
        load => load,
    };
    Ok(counters()?.iter().map(|(name, counters)| (name.clone(), load(counters))).collect())
}

/// Last measured size of each distributed schema in bytes, by name.
pub fn known_sizes() -> Result<HashMap<String, f64>> {
    let size = |(name, counters): (String, Counters)| Some((name, counters.size? as f64));
    Ok(counters()?.into_iter().filter_map(size).collect())
}

/// Recomputes the loads; `since` is the time since the last computation.
pub fn refresh(since: Duration) {
    let exists = |schema: u32| session::namespace_name(Oid::from(schema)).is_some();
    schema_counters::refresh(since.as_secs_f64().max(0.001), HALF_LIFE, exists);
}

/// Size and load of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Weight {
    /// Bytes on its node.
    pub bytes: f64,
    /// Seconds of statements per second.
    pub load: f64,
}

/// Weights of the shards by ID; `sizes` are those of the schemas.
pub fn weights(shards: &[Shard], sizes: &HashMap<String, f64>) -> Result<HashMap<i64, Weight>> {
    let loads = loads()?;
    let mut weights: HashMap<i64, Weight> =
        shards.iter().map(|shard| (shard.id.0, Weight::default())).collect();
    for (name, shard) in catalog::shards_of_schemas()? {
        if let Some(weight) = weights.get_mut(&shard.0) {
            weight.bytes += sizes.get(&name).copied().unwrap_or(0.0);
            weight.load += loads.get(&name).copied().unwrap_or(0.0);
        }
    }
    Ok(weights)
}
