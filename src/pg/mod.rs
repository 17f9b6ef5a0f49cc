//! The only room that says `unsafe`: everything that touches PostgreSQL's memory, hooks and locks, wrapped
//! so that the rest of the extension is safe Rust.
//!
//! Invariant: no function outside this folder can cause undefined behaviour through it, and an error raised by
//! PostgreSQL never crosses a frame with destructors.
#![allow(unsafe_code)]

pub mod acting;
mod anew;
pub mod backends;
mod bulk_insert;
pub mod catalog;
pub mod client;
pub mod copy_change;
pub mod copy_from;
pub mod custom_scan;
pub mod decode;
pub mod deparse;
pub mod deparse_check;
mod deparse_marks;
pub mod enclosing;
pub mod encoding;
pub mod error;
pub mod evaluate;
pub mod explain;
#[cfg(feature = "failpoints")]
pub mod failpoints;
pub mod function_calls;
pub mod grammar_check;
pub mod hooks;
pub mod invalidation;
pub mod list;
pub mod lock;
pub mod names;
pub mod nesting;
pub mod node_health;
pub mod nodes;
pub mod object;
pub mod object_access;
pub mod object_numbers;
pub mod own_settings;
pub mod params;
pub mod parser;
pub mod plan;
pub mod preload;
pub mod privileges;
pub mod recorded;
pub mod redirect;
pub mod replica_states;
pub mod result_columns;
pub mod roles;
pub mod row_scan;
pub mod row_trigger;
pub mod scanner_hook;
pub mod schema_counters;
pub mod server_functions;
pub mod server_start;
pub mod session;
pub mod session_settings;
pub mod setting_types;
pub mod settings_scan;
pub mod shared_memory;
pub mod shell_locks;
pub mod sql;
pub mod statement;
pub mod statement_calls;
pub mod statement_edit;
pub mod statement_names;
pub mod statement_parts;
pub mod subtransaction;
mod table_numbers;
pub mod table_rows;
pub mod transaction_records;
pub mod tree;
pub mod triggers;
pub mod types;
pub mod utility_hook;
pub mod utility_view;
pub mod wait;
pub mod worker;
pub mod worker_slots;
pub mod xact;
