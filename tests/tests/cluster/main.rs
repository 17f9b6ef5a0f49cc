//! Tests on real clusters, one module a topic, one program: it links once.
//!
//! Modules whose name starts with `smoke` also run against the other PostgreSQL versions.

mod harness;
