//! Settings that take one word of several: the derive needs `unsafe` for PostgreSQL's table of words.

use pgrx::guc::PostgresGucEnum;

/// How the place of a new distributed schema is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
pub enum PlacementStrategy {
    /// By the hash slot of its key.
    #[name = c"hash"]
    Hash,
    /// By its key's place in the order of keys.
    #[name = c"range"]
    Range,
    /// By both.
    #[name = c"composite"]
    Composite,
    /// On the node that has least, in a shard of its own.
    #[name = c"least_loaded"]
    LeastLoaded,
}

impl PlacementStrategy {
    /// The strategy of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "hash" => Some(Self::Hash),
            "range" => Some(Self::Range),
            "composite" => Some(Self::Composite),
            "least_loaded" => Some(Self::LeastLoaded),
            _ => None,
        }
    }
}

/// Where statements that only read run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
pub enum ReadFrom {
    /// Where they would write.
    #[name = c"primary"]
    Primary,
    /// There, or on a copy that is near enough.
    #[name = c"any"]
    Any,
}
