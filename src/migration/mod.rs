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

pub mod cleanup;
pub mod code;
pub mod column_order;
pub mod definition;
pub mod dump;
pub mod import;
pub mod mirror;
pub mod owners;
pub mod preflight;
pub mod request;
pub mod requirements;
pub mod run;
pub mod schemaless;
pub mod start;
pub mod steps;
pub mod switch;

pub use crate::replica::{
    advance_sequences, promote, refuse_copies, refuse_node, set_replicas, wait_for_replicas,
};
pub use request::{verify as verify_schema, wait, wish};
pub use run::run;
pub use start::of_schema;
pub use start::{Subject, start, start_distributing, start_undistributing};
