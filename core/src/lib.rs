//! Everything in Helios that needs no PostgreSQL: pure data in, pure data out.
//!
//! Invariant: nothing here reads a clock, a file, a socket or a global, so that equal input gives
//! equal output and every rule can be tested without a server.

pub mod archive;
pub mod clause;
pub mod columns;
pub mod conninfo;
pub mod copy_text;
pub mod deadlock;
pub mod embedded_query;
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
