//! The SQL functions, one file a topic: each checks its arguments, calls the room that does the work, and
//! raises that room's error.
//!
//! Invariant: nothing is decided here that another caller of the same work would not get too.
//! Lock order: none of its own.

mod cluster;
mod copies;
mod nodes;
mod places;
mod schemas;
mod tables;
mod transactions;
