//! Shards made, joined and spread over the nodes: by hand, by plan, and by themselves.
//!
//! Invariant: the pooled shards cover every slot and key once, before and after whatever is done here; a shard that
//! holds schemas changes its node by a migration alone.
//!
//! Lock order: that of the directory: the cluster's lock, then shards by ascending id, all at once; whoever cannot have
//! them soon lets go of them, so that statements never wait long behind.

mod automatic;
mod drain;
mod moves;
mod plan;
mod ring;
mod shards;

pub use automatic::{Automatic, finish_merges};
pub use drain::{drain, undrain};
pub use moves::{migrate_matching, start_move};
pub use plan::{Prepared, execute, prepare};
pub use ring::place_empty_shards;
pub use shards::{At, Merged, assign, merge, split};
