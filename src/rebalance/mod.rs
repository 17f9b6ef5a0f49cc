//! Placement of shards on nodes: splitting, merging and moving them manually, by a plan, and automatically. Read `plan`
//! first, which turns the load into the moves that are carried out.
//!
//! Invariant: the pooled shards cover every slot and key exactly once, before and after every change. A shard that
//! contains schemas changes its node only by a migration.
//!
//! Lock order: the cluster's lock, then shards by ascending ID, all at once. A lock that is not granted soon is
//! abandoned, so that statements never queue behind it for long.

mod automatic;
mod colocate;
mod drain;
mod moves;
mod plan;
mod ring;
mod shards;

pub use automatic::{Automatic, finish_merges};
pub use colocate::colocate;
pub use drain::{drain, undrain};
pub use moves::{migrate_matching, start_move};
pub use plan::{Prepared, execute, prepare};
pub use ring::place_empty_shards;
pub use shards::{At, Merged, assign, merge, split};
