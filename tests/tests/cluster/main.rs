//! Tests on real clusters, one module per topic, in one program so that it links only once.
//!
//! Modules whose names start with `smoke` also run against the other PostgreSQL versions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails by panicking"
)]

mod altered_catalogs;
mod auto_reference;
mod catalogs_beside;
mod copies_compared;
mod cursors;
mod definitions_compared;
mod extensions;
mod fences;
mod first_statement;
mod function_calls;
mod function_places;
mod harness;
mod held_by_reads;
mod large_objects;
mod namesakes;
mod node_loss;
mod node_sessions;
mod numbers_of_objects;
mod outside_statements;
mod plain_schemas;
mod procedural;
mod pull_bulk;
mod pull_rows;
mod read_only;
mod rebalance;
mod reference;
mod reference_beside;
mod reference_definitions;
mod reference_keys;
mod reference_removal;
mod repair;
mod rewritten_inserts;
mod roles;
mod rows_as_told;
mod server_functions;
mod session_state;
mod shards;
mod shared_tables;
mod smoke_definitions;
mod smoke_grammar;
mod smoke_plain;
mod smoke_routing;
mod smoke_start;
mod smoke_timeouts;
mod snapshots;
mod transaction_commands;
mod transactions;
mod unfit_nodes;
mod upgrade;
