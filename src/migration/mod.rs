//! The online move of a shard to another node and its variants, which [`kind`] lists. Read [`steps`] first, which does
//! the work of each state.
//!
//! A separate worker takes each migration from state to state (`helios_core::migration`). Logical replication delivers
//! every committed write to both copies, from before the rows are copied until the migration is finished or rolled
//! back.
//!
//! Invariant: a worker can stop at any point; the next one resumes from the last committed state and repeats at most
//! one step. Everything that a step creates on a node is recorded in `helios.cleanup` before it is created. The
//! directory, the fence of the old copy and that of the new one change in one distributed transaction.
//!
//! Lock order: the shard's lock on the coordinator, then tables on the source, then rows of `helios.fence`.

pub mod cleanup;
pub mod code;
pub mod column_order;
pub mod definition;
pub mod direction;
pub mod dump;
pub mod import;
pub mod kind;
pub mod owners;
pub mod plain_schemas;
pub mod preflight;
pub mod primary;
pub mod referrers;
pub mod replica_rows;
pub mod request;
pub mod requirements;
pub mod schemaless;
pub mod start;
pub mod steps;
pub mod switch;
pub mod worker;

pub use replica_rows::refuse_copies;
pub use request::{submit, verify as verify_schema, wait};
pub use start::of_schema;
pub use start::{Subject, start, start_distributing, start_undistributing};
pub use worker::run;
