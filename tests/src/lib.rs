//! Tests of Helios on real PostgreSQL clusters, which are started by `testkit`.

pub use testkit::*;
