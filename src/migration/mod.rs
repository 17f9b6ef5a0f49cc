//! The online move of schemas from one node to another: what its steps do on the nodes.
//!
//! Invariant: a step is committed, idempotent and restartable; what it will create on a node is recorded in
//! `helios.cleanup` before it is created.
//! Lock order: none here.

pub mod pull;
