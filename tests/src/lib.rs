//! Tests of Helios on real PostgreSQL clusters.
