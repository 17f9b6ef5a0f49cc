//! The online move of a shard to another node.
//!
//! A worker of its own takes each migration from state to state (`helios_core::migration`). Every committed write
//! reaches both copies, by PostgreSQL's logical replication, from before the rows are copied until the move is finished
//! or rolled back.
//!
//! Invariant: whatever stops at whatever point, the next worker goes on from the last committed state, and repeats at
//! most one step; what a step makes on a node is in `helios.cleanup` before it is made. The directory, the fence of
//! the old copy and that of the new one change in one distributed transaction.
//!
//! Lock order: the shard's lock here, then tables on the source, then rows of `helios.fence`.

mod apply_role;
mod backfill;
mod channel;
mod cleanup;
pub mod code;
mod column_order;
mod definition;
pub mod dump;
mod ends;
mod fence;
mod foreign;
mod mirror;
pub mod needs;
mod owners;
mod patience;
mod plan;
pub mod preflight;
pub mod pull;
mod record;
pub mod repair;
pub mod replica;
mod run;
mod schemaless;
mod steps;
mod switch;
mod tables;
pub mod verify;
mod wish;

pub use foreign::{Import, start as start_import};
pub use plan::of_schema;
pub use plan::{Subject, start, start_distributing, start_undistributing};
pub use record::{of_node, waiting};
pub use replica::{
    advance_sequences, follows_any, promote, refuse_copies, refuse_node, set_replicas,
    wait_for_replicas,
};
pub use run::run;
pub use wish::{verify as verify_schema, wait, wish};
