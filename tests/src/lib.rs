//! Tests of Helios on real PostgreSQL clusters, which `testkit` brings up.

pub use testkit::*;
