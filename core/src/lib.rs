//! Everything in Helios that does not need PostgreSQL: pure functions on data.
//!
//! Invariant: nothing here reads a clock, file, socket or global variable, so that equal input yields equal output and
//! everything can be tested without a server.

pub mod archive;
pub mod body;
pub mod clause;
pub mod columns;
pub mod conninfo;
pub mod copy_text;
pub mod deadlock;
pub mod embedded_query;
pub mod explained;
pub mod frames;
pub mod generation;
pub mod lex;
pub mod migration;
pub mod node_interface;
pub mod quote;
pub mod rebalance;
pub mod ring;
pub mod route;
pub mod shard;
pub mod slot;
